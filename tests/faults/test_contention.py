"""Two processes on one directory: the second is refused, and the first continues unharmed."""

import signal

import psutil
import pytest
from faults.processes import RUN, SWEEP, ended, refused, run, same_end, start, trains


@pytest.mark.parametrize("word", ["hydra.run.dir=run", "resume=run"])
def test_two_processes_on_one_run(whole, tmp_path, word):
    """{word} is refused while another process trains there"""
    process = start(*RUN, "hydra.run.dir=run", cwd=tmp_path)
    trains(process, tmp_path / "run")
    process.send_signal(signal.SIGSTOP)
    refused(run(*(RUN if "hydra" in word else []), word, cwd=tmp_path), 2, "run: ")
    process.send_signal(signal.SIGCONT)
    code, error = ended(process)
    assert code == 0, error
    same_end(tmp_path / "run", whole("run"))


def test_two_processes_begin_one_run_at_once(whole, tmp_path):
    """the same command is started twice at once: one trains, the other is refused"""
    both = [start(*RUN, "hydra.run.dir=run", cwd=tmp_path) for _ in range(2)]
    endings = sorted((ended(process) for process in both), key=lambda ending: ending[0])
    assert endings[0][0] == 0, endings
    refused(endings[1], 2, "run: ")
    same_end(tmp_path / "run", whole("run"))


@pytest.mark.parametrize("word", ["sweep_resume=sweep", "resume=sweep/1"])
def test_two_processes_on_one_sweep(whole, tmp_path, word):
    """{word} is refused while another process works on the sweep"""
    process = start(*SWEEP, "hydra.sweep.dir=sweep", cwd=tmp_path)
    trains(process, tmp_path / "sweep/1")
    of_the_sweep = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
    for one in of_the_sweep:
        one.suspend()
    refused(run(*(["-m"] if "sweep_" in word else []), word, cwd=tmp_path), 2, "another process is ")
    for one in of_the_sweep:
        one.resume()
    code, error = ended(process)
    assert code == 0, error
    for job in "0123":
        same_end(tmp_path / "sweep" / job, whole("sweep") / job)
