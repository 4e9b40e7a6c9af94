import shutil
import subprocess
from pathlib import Path

from flowlab.system import process


def git(directory, *words):
    command = ["git", "-C", str(directory), "-c", "user.name=a", "-c", "user.email=a@b.c", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_recorded_commit_is_of_flowlabs_own_repository(tmp_path, monkeypatch):
    """A copy in another repository has no commit; in flowlab's it has one, and says whether files differ."""
    home = tmp_path / "flowlab" / "system"
    home.mkdir(parents=True)
    copy = Path(shutil.copy(process.__file__, home))
    monkeypatch.setattr(process, "__file__", str(copy))
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", "somebody else's")
    assert process._git.__wrapped__() == (None, None)
    for name in ("conf", "experiments"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text("a")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "own")
    assert process._git.__wrapped__() == (git(tmp_path, "rev-parse", "HEAD"), False)
    copy.write_text("# changed")
    assert process._git.__wrapped__()[1] is True
