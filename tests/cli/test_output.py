"""The last line of a run, and `--help`."""

import json
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from flowlab import compose
from flowlab.cli.output import last_line, usage
from flowlab.runs.directory import Run


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"kl": 0.01, "gaussian_nll": 4.5}, "kl=0.0100 nll=4.2342+-0.0033 nats  run"),
        ({"gaussian_nll": 36.15}, "nll=4.2342+-0.0033 gaussian_nll=36.1500 nats  run"),
        ({"gaussian_nll": None}, "nll=4.2342+-0.0033 nats  run"),
        (
            {"gaussian_nll": 36.15, "nll_median": 1.5, "doubts": ["1 of 450 rows dominates"]},
            "nll=4.2342+-0.0033 nll_median=1.5000 gaussian_nll=36.1500 nats  run",
        ),
        ({"gaussian_nll": 36.15, "nll_median": 1.5, "doubts": []}, "nll=4.2342+-0.0033 gaussian_nll=36.1500 nats  run"),
        ({}, "nll=4.2342+-0.0033 nats  run"),
    ],
)
def test_last_line_of_a_run_on_data_has_the_nll_of_a_gaussian(tmp_path, monkeypatch, more, line):
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    Path("run/result.json").write_text(json.dumps({"nll": 4.2342, "nll_se": 0.0033} | more))
    assert last_line(Run(Path("run"), compose())) == line


def test_help_lists_every_launcher_of_flowlab():
    Plugins.instance()  # imports the plugins, which fill Hydra's store
    stored = ConfigStore.instance().repo["hydra"]["launcher"].items()
    ours = {Path(name).stem for name, node in stored if getattr(node, "provider", None) == "flowlab"}
    listed = next(line for line in usage().splitlines() if line.startswith("  hydra/launcher"))
    assert ours == {"basic", "stacked"}
    assert ours < set(listed.removeprefix("  hydra/launcher").replace(",", "").split())
