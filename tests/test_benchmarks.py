"""The benchmarks, with little to do."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas

BENCHMARKS = Path(__file__).parent.parent / "experiments" / "benchmarks"


def test_the_answers_of_the_command_line_are_timed():
    done = subprocess.run([sys.executable, BENCHMARKS / "startup.py", "--repeat", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ratios = [float(ratio) for ratio in re.findall(r"^ratio: ([\d.]+)  flowlab-train", done.stdout, re.MULTILINE)]
    assert len(ratios) == 2
    assert min(ratios) > 0


def test_throughput_is_that_of_both_sides():
    command = [sys.executable, BENCHMARKS / "throughput.py", "--points", "2000", "--evaluated", "3000"]
    done = subprocess.run([*command, "--repeat", "1", "--threads", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^ +(.+?) +(log_prob|sample|evaluate) +([23],000) +(.+?) *$", done.stdout, re.MULTILINE)
    assert len(rows) == 7
    assert all(float(number) > 0 for *_, numbers in rows for number in numbers.split()[:4])
    times = {(side, task): float(numbers.split()[0]) for side, task, _, numbers in rows}
    ratios = re.findall(r"^ratio: ([\d.]+)  torch.distributions over flowlab, (\w+), threads = 1$", done.stdout, re.M)
    for ratio, task in ratios:
        expected = times["torch.distributions, 8 layers", task] / times["flowlab, 8 layers", task]
        assert np.isclose(float(ratio), expected, rtol=0.05)
    assert len(ratios) == 2


def test_the_record_holds_what_is_printed(tmp_path):
    command = [
        sys.executable,
        BENCHMARKS / "low_rank_scaling.py",
        "--dims",
        "8",
        "512",
        "1024",
        "--repeat",
        "2",
        "--record",
        tmp_path / "times",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table = pandas.read_csv(tmp_path / "times.csv")
    origin = json.loads((tmp_path / "times.json").read_text())
    assert len(table) == 3 * 3 * 3  # dimensions, sides and tasks
    assert (table["least_seconds"] > 0).all()
    assert (table["least_seconds"] <= table["median_seconds"]).all()
    assert (table["median_seconds"] <= table["greatest_seconds"]).all()
    assert origin["threads"] == 1
    assert not any("/" in word for word in origin["command"][1:])
    times = table.set_index(["side", "task", "dim"])["median_seconds"]
    ratio = times["dense", "inverse", 1024] / times["tril", "inverse", 1024]
    assert np.isclose(ratio, origin["ratios"]["tril inverse"], rtol=1e-2)
    slope = np.log2(times["dense", "inverse", 1024] / times["dense", "inverse", 512])  # without d = 8
    assert np.isclose(slope, origin["exponents"]["dense inverse"], rtol=1e-2)
    printed = re.findall(r"^ratio: ([\d.]+)  dense over tril inverse, d = 1024$", done.stdout, re.MULTILINE)
    assert np.isclose(float(printed[0]), ratio, rtol=0.05)
    for side, peak in origin["peak_megabytes"].items():
        assert peak["dim"] == 1024
        assert 0 < peak["answers"] <= peak["gradient"], side
    assert origin["peak_megabytes"]["dense"]["answers"] > 8, "a matrix and its factorisation take 4.2 megabytes each"
