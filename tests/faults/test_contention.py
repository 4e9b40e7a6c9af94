"""Two processes on one directory: the second is refused, and the first continues unharmed."""

import signal

import psutil
import pytest
from faults.processes import RUN, SWEEP, check_refused, check_same_end, run, start, wait_for_checkpoint, wait_for_end


@pytest.mark.parametrize("word", ["hydra.run.dir=run", "resume=run"])
def test_second_process_on_one_run_is_refused(reference, tmp_path, word):
    """{word} is refused while another process trains there"""
    process = start(*RUN, "hydra.run.dir=run", cwd=tmp_path)
    wait_for_checkpoint(process, tmp_path / "run")
    process.send_signal(signal.SIGSTOP)
    check_refused(run(*(RUN if "hydra" in word else []), word, cwd=tmp_path), 2, "run: ")
    process.send_signal(signal.SIGCONT)
    code, error = wait_for_end(process)
    assert code == 0, error
    check_same_end(tmp_path / "run", reference("run"))


def test_simultaneous_start_of_one_run_trains_once(reference, tmp_path):
    """the same command is started twice at once: one trains, the other is refused"""
    both = [start(*RUN, "hydra.run.dir=run", cwd=tmp_path) for _ in range(2)]
    endings = sorted((wait_for_end(process) for process in both), key=lambda ending: ending[0])
    assert endings[0][0] == 0, endings
    check_refused(endings[1], 2, "run: ")
    check_same_end(tmp_path / "run", reference("run"))


@pytest.mark.parametrize("word", ["sweep_resume=sweep", "resume=sweep/1"])
def test_second_process_on_one_sweep_is_refused(reference, tmp_path, word):
    """{word} is refused while another process works on the sweep"""
    process = start(*SWEEP, "hydra.sweep.dir=sweep", cwd=tmp_path)
    wait_for_checkpoint(process, tmp_path / "sweep/1")
    processes = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
    for one in processes:
        one.suspend()
    check_refused(run(*(["-m"] if "sweep_" in word else []), word, cwd=tmp_path), 2, "another process is ")
    for one in processes:
        one.resume()
    code, error = wait_for_end(process)
    assert code == 0, error
    for job in "0123":
        check_same_end(tmp_path / "sweep" / job, reference("sweep") / job)
