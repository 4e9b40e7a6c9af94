import shutil

import pytest

from flowlab import ConfigError
from flowlab.system.files import WriteError
from flowlab.system.lock import check_held, check_unlocked, locked


def test_a_directory_belongs_to_one(tmp_path):
    check_unlocked(tmp_path)
    with locked(tmp_path, "busy here"):
        with pytest.raises(ConfigError, match="another process is busy here"), locked(tmp_path, "busy here"):
            pass
        with pytest.raises(ConfigError, match="another process is training this run"):
            check_unlocked(tmp_path)
    check_unlocked(tmp_path)


def test_a_directory_that_another_has_replaced_is_not_written(tmp_path):
    directory = tmp_path / "run"
    directory.mkdir()
    check_held(directory)
    with locked(directory):
        check_held(directory)
        directory.rename(tmp_path / "moved")
        with pytest.raises(WriteError, match="run: cannot be written: No such file"):
            check_held(directory)
        directory.mkdir()
        with pytest.raises(WriteError, match="run: cannot be written: another directory has taken its place"):
            check_held(directory)
        shutil.rmtree(directory)
        (tmp_path / "moved").rename(directory)
        check_held(directory)
