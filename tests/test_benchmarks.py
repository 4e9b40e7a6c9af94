"""The benchmark scripts with small problems."""

import importlib.util
import json
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch

import flowlab
from flowlab.training.build import build

BENCHMARKS = Path(__file__).parent.parent / "experiments" / "benchmarks"
BENCH = BENCHMARKS.parent / "bench.py"


def test_startup_times_the_command_line():
    done = subprocess.run([sys.executable, BENCHMARKS / "startup.py", "--repeat", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ratios = [float(ratio) for ratio in re.findall(r"^ratio: ([\d.]+)  flowlab-train", done.stdout, re.MULTILINE)]
    assert len(ratios) == 2
    assert min(ratios) > 0


def test_throughput_ratio_agrees_with_both_sides():
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


def test_gpu_benchmark_times_stacks_or_reports_a_missing_gpu():
    """The script also runs on the CPU with `--device cpu`, here with few steps."""
    script = [sys.executable, BENCHMARKS / "gpu.py"]
    if not torch.cuda.is_available():
        done = subprocess.run(script, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "gpu.py: there is no GPU here; nothing was measured\n")
    words = ["--device", "cpu", "--eager", "--jobs", "1", "3", "--batch-sizes", "16", "--steps", "3", "--repeat", "2"]
    done = subprocess.run([*script, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = {int(jobs): float(rate) for jobs, rate in re.findall(r"^ +(\d+) +16 .* (\d+) *$", done.stdout, re.MULTILINE)}
    ratio = re.search(r"^ratio: ([\d.]+)  flows x steps/s of 3 flows over 1$", done.stdout, re.MULTILINE)
    assert float(ratio[1]) == pytest.approx(rows[3] / rows[1], rel=0.05, abs=0.06)


def test_low_rank_record_agrees_with_printed_ratios(tmp_path):
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
    slope = np.log2(times["dense", "inverse", 1024] / times["dense", "inverse", 512])  # the fit leaves out d = 8
    assert np.isclose(slope, origin["exponents"]["dense inverse"], rtol=1e-2)
    printed = re.findall(r"^ratio: ([\d.]+)  dense over tril inverse, d = 1024$", done.stdout, re.MULTILINE)
    assert np.isclose(float(printed[0]), ratio, rtol=0.05)
    for side, peak in origin["peak_megabytes"].items():
        assert peak["dim"] == 1024
        assert 0 < peak["answers"] <= peak["gradient"], side
    assert origin["peak_megabytes"]["dense"]["answers"] > 8, "a matrix and its factorisation take 4.2 megabytes each"


def test_training_speed_compares_equal_training():
    command = [sys.executable, BENCHMARKS / "training_speed.py", "--steps", "200", "--repeat", "2"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    apart = re.search(r"^largest difference between the weights of both sides at the end: (\S+)$", done.stdout, re.M)
    assert float(apart[1]) < 1e-3  # both sides compute the same
    median = {
        name: float(re.search(rf"^ +{name} +([\d.]+) ", done.stdout, re.M)[1])
        for name in ("flowlab, eager", "of it, the steps", "rows of metrics and validations", "bare torch loop")
    }
    assert 0 < median["of it, the steps"] < median["flowlab, eager"]
    assert median["rows of metrics and validations"] > 0
    ratio = re.search(r"^ratio: ([\d.]+)  flowlab, eager over bare torch loop$", done.stdout, re.M)
    assert np.isclose(float(ratio[1]), median["flowlab, eager"] / median["bare torch loop"], rtol=1e-2)


@pytest.fixture
def script(monkeypatch):
    """Load a script as a module."""

    def load(path):
        monkeypatch.syspath_prepend(str(path.parent))
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, path.stem, module)
        spec.loader.exec_module(module)
        return module

    return load


def test_training_speed_passes_flow_parameters_to_the_peer(script):
    speed = script(BENCHMARKS / "training_speed.py")
    config = flowlab.compose(*speed.COMPILED)
    layers = speed.parameters_of(build(config).flow)
    assert len(layers) == 6
    assert [sorted(layer) for layer in layers[:-1]] == [["factor", "scale", "shift", "slope"]] * 5
    assert sorted(layers[-1]) == ["factor", "scale", "shift"]
    assert np.shape(layers[0]["scale"]) == (3,)
    assert np.shape(layers[0]["factor"]) == (2, 2)


def test_time_to_quality_stops_at_the_first_good_row(script):
    quality = script(BENCHMARKS / "time_to_quality.py")
    taken = quality.flowlab(seed=0, low_enough=20.0, more=["trainer.validate_every=10"])
    assert taken["steps"] == 10
    assert taken["nll"] <= 20
    assert 0 < taken["training"] < taken["seconds"] - taken["begun"]
    never = quality.flowlab(seed=0, low_enough=1.0, more=["max_steps=20", "test_size=100"])
    assert never["seconds"] == np.inf


def test_incomplete_row_is_not_read(script, tmp_path):
    quality = script(BENCHMARKS / "time_to_quality.py")
    path = tmp_path / "metrics.csv"
    assert quality.good_row(path, 4.0) is None
    path.write_text("step,loss,nll\n100,4.5,\n200,4.4,4.3\n300,4.1,3.")
    assert quality.good_row(path, 4.0) is None
    path.write_text("step,loss,nll\n100,4.5,\n200,4.4,4.3\n300,4.1,3.9\n400,4.0,3.8\n")
    assert quality.good_row(path, 4.0) == {"step": 300, "loss": 4.1, "nll": 3.9}


def test_ratios_are_compared_with_goals(script):
    bench = script(BENCH)
    two = bench.Benchmark("low_rank_scaling.py", {"tril inverse": ">= 40", "diag inverse": ">= 1000"})
    lines = ["ratio: 39.9  dense over tril inverse, d = 4096", "ratio: 1300.0  dense over diag inverse, d = 4096"]
    lines += ["ratio: 5.0  dense over tril forward, d = 4096"]
    outcome = bench.outcome_of(two, "\n".join(lines), status=0, seconds=1.0)
    assert [ratio.verdict for ratio in outcome.ratios] == ["**not met**", "met", "reported"]
    assert outcome.problem is None
    assert bench.outcome_of(two, lines[0], status=0, seconds=1.0).problem == "no ratio for the goal >= 1000"
    assert bench.outcome_of(two, "\n".join(lines), status=3, seconds=1.0).problem == "exit status 3"
    single = bench.Benchmark("startup.py", {"": "<= 0.5"})
    assert not bench.outcome_of(single, "ratio: nan", status=0, seconds=1.0).ratios[0].met


def test_report_names_failed_scripts(script, tmp_path, monkeypatch, capfd):
    bench = script(BENCH)
    scripts = tmp_path / "scripts"
    shutil.copytree(bench.SCRIPTS / "templates", scripts / "templates")
    (scripts / "good.py").write_text("print('a | table')\nprint('ratio: 0.25  ours over theirs')\n")
    (scripts / "bad.py").write_text("import sys\nsys.exit('what went wrong')\n")
    benchmarks = [bench.Benchmark("bad.py", {"": "<= 1"}), bench.Benchmark("good.py", {"": "<= 0.5"})]
    monkeypatch.setattr(bench, "SCRIPTS", scripts)
    monkeypatch.setattr(bench, "BENCHMARKS", benchmarks)
    written = tmp_path / "BENCHMARKS.md"
    assert bench.main(["good", "--output", str(written)]) == 0
    text = written.read_text()
    assert "| `good.py` | ours over theirs | 0.25 | <= 0.5 | met |" in text
    assert "```\na | table\nratio: 0.25  ours over theirs\n```" in text
    assert "failed" not in text
    assert bench.main(["--output", str(written)]) == 1
    text = written.read_text()
    assert "| `bad.py` | | | | **failed**: exit status 1 |" in text
    assert "| `good.py` | ours over theirs" in text
    assert "what went wrong" in capfd.readouterr().err
    assert platform.node() not in text
    assert str(tmp_path) not in text


def test_report_includes_every_script(script):
    there = {path.name for path in BENCHMARKS.glob("*.py") if "ratio: " in path.read_text()}
    assert there <= {benchmark.command.split()[0] for benchmark in script(BENCH).BENCHMARKS}


def test_d_passes_sample_the_same_points(script, monkeypatch):
    """The side without early stopping draws what the flow draws, so its seconds can be compared."""
    monkeypatch.syspath_prepend(BENCHMARKS)  # for modern_peers, which imports the other libraries later
    sampling = script(BENCHMARKS / "modern_sampling.py")
    flow = flowlab.compose("flow=maf", "flow.hidden=[8]", "flow.depth=3").flow.build((4,))
    sampling.train(flow, sampling.curved(4), 30)
    x = torch.randn(50, 4)
    torch.testing.assert_close(sampling.sample_by_passes(flow, x), flow.bijector(x).detach())
    assert not torch.allclose(flow.bijector(x), x, atol=1e-3)


def test_committed_report_begins_as_the_template_does():
    template = (BENCHMARKS / "templates" / "benchmarks.md").read_text(encoding="utf-8").split("\n- {{")[0]
    assert template.startswith('# What was measured\n\nA ratio "A over B" is')
    assert (BENCH.parents[1] / "BENCHMARKS.md").read_text(encoding="utf-8").startswith(template)
