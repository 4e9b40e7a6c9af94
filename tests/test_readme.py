"""README.md is short, its examples run, its figures are the recorded ones, and its commands work in a fresh clone."""

import doctest
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from readme_tables import ROOT, architectures

import flowlab

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BENCHMARKS = (ROOT / "BENCHMARKS.md").read_text(encoding="utf-8")
BLOCKS = {
    kind: re.findall(rf"^```{kind}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL) for kind in ("python", "sh", "bibtex")
}
PROSE = re.sub(r"^```.*?^```$|`[^`]*`|\]\([^)]*\)|<img.*?>", " ", TEXT, flags=re.MULTILINE | re.DOTALL)


def test_it_is_short():
    lines = TEXT.splitlines()
    assert len(lines) <= 130
    assert max(len(line) for line in lines if not line.startswith("|")) <= 120


def test_the_example_prints_what_it_says():
    (example,) = BLOCKS["python"]
    assert example.count(">>> ") <= 10
    test = doctest.DocTestParser().get_doctest(example, {}, "README.md", "README.md", 0)
    assert doctest.DocTestRunner().run(test) == (0, len(test.examples))


def test_every_link_leads_to_a_file():
    links = [*re.findall(r"\]\(([^)#:]+)\)", TEXT), *re.findall(r'src="([^"]+)"', TEXT)]
    assert len(links) > 20
    assert not [link for link in links if not (ROOT / link).exists()]


def test_every_key_of_a_training_command_exists():
    """Composes each training command, so an unknown name is an error."""
    commands = re.findall(r"^flowlab-train ([^#\n]+)", "\n".join(BLOCKS["sh"]), re.MULTILINE)
    assert commands
    for words in map(shlex.split, commands):
        flowlab.compose(*(word for word in words if not word.startswith("hydra.")))


def read_number(pattern, text):
    found = re.search(pattern, text)
    assert found, f"nothing is like {pattern}"
    return float(found[1].replace(" ", ""))


def test_steps_are_those_of_the_benchmark():
    steps = sorted(map(int, re.search(r"flowlab: 5 of 5 starts got there; steps: (.*)", BENCHMARKS)[1].split(", ")))
    assert read_number(r"in (\d+) steps \(median of 5 initializations\)", PROSE) == steps[2]
    reproduction = (ROOT / "REPRODUCTION.md").read_text(encoding="utf-8")
    nll, earlier = re.search(r"loss of ([\d.]+) nats after ([\d ]+\d) steps", PROSE).groups()
    assert f"from step {earlier} on lies between {nll} and" in reproduction
    assert float(nll) == read_number(r"until the NLL is at most ([\d.]+) nats", BENCHMARKS)
    assert int(earlier.replace(" ", "")) / steps[2] >= 100


def test_microseconds_and_ratios_are_those_of_the_benchmark():
    compiled = BENCHMARKS.split("## training_speed.py --peer tfp-jax")[1]
    for words, row in (
        (r"A compiled step takes (\d+)", "flowlab, compiled"),
        (r"takes (\d+) µs: a", "TFP on JAX, one"),
    ):
        assert read_number(words, " ".join(PROSE.split())) == round(read_number(rf"{row}.*? {{3,}}([\d.]+)", compiled))
    for words, ratio in ((r"a ratio of ([\d.]+\d)", "one lax.scan"), (r"the ratio is ([\d.]+\d)", "kept to one core")):
        measured = re.search(
            rf"^ratio: ([\d.]+)  flowlab, compiled over TFP on JAX.*{ratio}$", BENCHMARKS, re.MULTILINE
        )
        assert read_number(words, PROSE) == float(measured[1])
        assert float(measured[1]) < 1, "the README says that the step is faster"


def test_the_table_of_flows_is_the_recorded_one():
    recorded = architectures()
    lines = re.findall(r"^\| (`flow=`.*|`\w+` \| \d.*) \|$", TEXT, re.MULTILINE)
    header, *rows = ([cell.strip(" `") for cell in line.split("|")] for line in lines)
    assert header == ["flow=", *recorded.columns]
    assert [row[0] for row in rows] == recorded.index.tolist(), "sorted by the mean"
    assert [row[1:] for row in rows] == [[f"{kl:.3f}" for kl in row] for row in recorded.to_numpy()]


def test_no_other_decimal_number_is_in_the_prose():
    """Every decimal number is checked above, is a version, or is the limit that the test of a fresh clone keeps."""
    tested = {number for row in architectures().to_numpy() for number in (f"{kl:.3f}" for kl in row)}
    tested |= set(re.findall(r"\d+\.\d+", BENCHMARKS)) | {"3.11", "3.12", "3.13", "0.05"}
    versions = set(re.findall(r"(?:zuko|nflows|normflows) (\d+\.\d+)", PROSE))
    assert not set(re.findall(r"\d+\.\d+", PROSE)) - tested - versions


def test_the_picture_moves_and_is_small():
    path = ROOT / re.search(r'src="([^"]+\.gif)"', TEXT)[1]
    assert path.stat().st_size < 1_000_000
    with Image.open(path) as picture:
        assert picture.n_frames > 40
        assert picture.info["loop"] == 0
        first = picture.convert("L").tobytes()
        picture.seek(picture.n_frames - 1)
        assert picture.convert("L").tobytes() != first


@pytest.mark.skipif("FLOWLAB_INSTALL" not in os.environ, reason="installs every package: make test-install")
def test_commands_work_in_a_fresh_clone_with_an_empty_environment(tmp_path):
    example = tmp_path / "example.py"
    example.write_text("import doctest, sys\nsys.exit(doctest.testfile(sys.argv[1], module_relative=False)[0])\n")
    readme = tmp_path / "example.txt"
    readme.write_text(BLOCKS["python"][0], encoding="utf-8")
    commands = "\n".join(BLOCKS["sh"]).replace("git clone REPOSITORY", f"git clone --quiet {shlex.quote(str(ROOT))}")
    commands += f"\npython {example} {readme}\n"
    python = Path(sys.base_prefix) / "bin"
    environment = {"PATH": f"{python}:/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    traced = "set -euo pipefail; PS4='[$SECONDS s] '; set -x\n" + commands
    begun = time.perf_counter()
    done = subprocess.run(["bash", "-c", traced], cwd=tmp_path, env=environment, capture_output=True, text=True)
    print(f"{time.perf_counter() - begun:.0f} s\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    assert done.returncode == 0, done.stderr[-3000:]
    kl = re.search(r"^kl=([\d.]+) .* nats  runs/banana$", done.stdout, re.MULTILINE)
    assert float(kl[1]) < read_number(r"Any value below ([\d.]+) is normal", TEXT)
    assert "<h1>" in (tmp_path / "flowlab" / "runs" / "banana" / "report.html").read_text(encoding="utf-8")
