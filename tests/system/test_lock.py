import shutil

import pytest

from flowlab import ConfigError
from flowlab.system.files import WriteError
from flowlab.system.lock import check_not_replaced, check_unlocked, lock_directory


def test_only_one_process_at_a_time_can_lock_a_directory(tmp_path):
    check_unlocked(tmp_path)
    with lock_directory(tmp_path, "busy here"):
        with pytest.raises(ConfigError, match="another process is busy here"), lock_directory(tmp_path, "busy here"):
            pass
        with pytest.raises(ConfigError, match="another process is training this run"):
            check_unlocked(tmp_path)
    check_unlocked(tmp_path)


def test_a_replaced_directory_is_not_written(tmp_path):
    directory = tmp_path / "run"
    directory.mkdir()
    check_not_replaced(directory)
    with lock_directory(directory):
        check_not_replaced(directory)
        directory.rename(tmp_path / "moved")
        with pytest.raises(WriteError, match="run: cannot be written: No such file"):
            check_not_replaced(directory)
        directory.mkdir()
        with pytest.raises(WriteError, match="run: cannot be written: another directory has taken its place"):
            check_not_replaced(directory)
        shutil.rmtree(directory)
        (tmp_path / "moved").rename(directory)
        check_not_replaced(directory)
