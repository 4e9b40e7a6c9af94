import shutil
import subprocess
from pathlib import Path

import flowlab
from flowlab import compose
from flowlab.runs import provenance


def git(directory, *words):
    command = ["git", "-C", str(directory), "-c", "user.name=a", "-c", "user.email=a@b.c", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_recorded_commit_is_of_flowlabs_own_repository(tmp_path, monkeypatch):
    """flowlab inside a different repository records no commit; in its own repository it records commit and changes."""
    home = tmp_path / "flowlab" / "training"
    home.mkdir(parents=True)
    copy = Path(shutil.copy(provenance.__file__, home))
    monkeypatch.setattr(provenance, "__file__", str(copy))
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", "somebody else's")
    assert provenance._git() == (None, None)
    for name in ("conf", "experiments"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text("a")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "own")
    assert provenance._git() == (git(tmp_path, "rev-parse", "HEAD"), False)
    copy.write_text("# changed")
    assert provenance._git()[1] is True


def test_provenance_names_seed_device_and_versions():
    record = provenance.provenance(compose("seed=7"))
    assert record["seed"] == 7
    assert record["device"] == "cpu"
    assert record["flowlab"] == flowlab.__version__
    assert record["packages"]["pytorch-lightning"].startswith("2.6")
