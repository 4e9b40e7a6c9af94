"""The page about a flow that was fitted to a log density, for densities whose truth is known; and the commands."""

import re
import sys

import numpy as np
import pandas
import pytest
import torch
from torch.distributions import Normal

import flowlab
from flowlab import Flow, StandardNormal
from flowlab.bijectors import AffineScalar
from flowlab.cli.report import main as report
from flowlab.cli.score import main as score
from flowlab.report.density_page import Weighed, build_density_page
from flowlab.report.record import Record
from flowlab.targets import LogDensity

ENDED = Record("run", "density", "nsf", 10, 0, "", best_step=9, steps=9, ended_by="max_steps")
FUNCTION = """
from torch.distributions import Gamma, Normal

def both(x):
    return Gamma(3.0, 2.0).log_prob(x[:, 0]) + Normal(1.0, 2.0).log_prob(x[:, 1]) + 2.0
"""


def weigh(log_density, scale=1.0, dim=2):
    flow = Flow(StandardNormal(dim), AffineScalar(scale=scale))
    return Weighed(flow, LogDensity(log_density, dim), [f"x{place + 1}" for place in range(dim)])


def text_of(page):
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def exact(x):
    return Normal(0.0, 1.0).log_prob(x).sum(-1) + 4.0


def test_exact_flow_has_no_warning():
    page = text_of(build_density_page(weigh(exact), ENDED, ["flowlab-report", "run"]))
    assert "The ELBO is 4.000 ± 0.000 nats" in page
    assert "the draws of the flow are worth 100.0 % as many draws of the target." in page
    assert "No check of this report speaks against the flow." in page
    assert "none shows a part of the target where the flow has no draws" in page
    assert "flowlab-report run" in page


def test_light_tails_are_warned_of_and_column_names_do_no_harm():
    weighed = weigh(exact, scale=0.5)
    page = build_density_page(Weighed(weighed.flow, weighed.target, ["<b>", "$x$"]), ENDED, [])
    assert "Warning. Pareto k = " in text_of(page)
    assert "read the warnings before you use them" in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page


def test_a_flow_that_is_too_wide_is_warned_of_though_its_weights_are_good():
    page = text_of(build_density_page(weigh(exact, scale=3.0), ENDED, []))
    assert "Pareto k = " not in page
    assert "nats below log Z, so draws of the flow differ from the target" in page
    assert "read the warnings before you use them" in page


def test_weights_correct_a_flow_that_is_too_wide():
    weighed = weigh(exact, scale=1.3)
    mean = weighed.weights @ weighed.draws
    spread = np.sqrt(weighed.weights @ (weighed.draws - mean) ** 2)
    np.testing.assert_allclose(weighed.draws.std(0), 1.3, atol=0.03)
    np.testing.assert_allclose(spread, 1.0, atol=0.03)
    np.testing.assert_allclose(weighed.resampled.std(0), 1.0, atol=0.03)
    assert len(weighed.resampled) == len(weighed.draws)


def test_one_column_has_no_pairs_and_a_short_training_is_named():
    stopped = Record("run", "density", "nsf", 10, 0, "", best_step=9, steps=9, ended_by="max_time")
    page = text_of(build_density_page(weigh(exact, dim=1), stopped, []))
    assert "Pairs of columns" not in page
    assert "when its time was over" in page


def test_density_that_fails_is_named():
    with pytest.raises(flowlab.ConfigError, match="log_density: is NaN or infinite"):
        build_density_page(weigh(lambda x: x.sum(-1).log()), ENDED, [])


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "report_density.py").write_text(FUNCTION)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("FLOWLAB_ALLOW", "report_density")
    words = ("target._target_=report_density.both", "target.dim=2", "target.support=[positive,real]")
    short = ("flow=planar", "max_steps=20", "test_size=200", "validation_size=100", "trainer.progress=off")
    yield flowlab.train(flowlab.compose("target=density", *words, *short), tmp_path / "run")
    sys.modules.pop("report_density", None)


def test_commands_on_a_run_of_a_log_density(run, tmp_path):
    assert report([str(run.directory)]) == 0
    page = run.directory / "report.html"
    assert report([str(run.directory), f"output={tmp_path / 'same.html'}"]) == 0
    assert (tmp_path / "same.html").read_bytes() == page.read_bytes()
    said = text_of(page.read_text(encoding="utf-8"))
    assert "log Z by importance sampling" in said
    assert "Target report_density.both" in said
    assert "Pairs of columns" in said
    rows = pandas.DataFrame({"x1": [1.0, 1.0, -1.0], "x2": [1.0, 90.0, 1.0]})
    rows.to_csv(tmp_path / "rows.csv", index=False)
    assert score([str(run.directory), f"input={tmp_path / 'rows.csv'}", f"output={tmp_path / 'scores.csv'}"]) == 0
    scores = pandas.read_csv(tmp_path / "scores.csv")
    known = run.flow.log_prob(torch.tensor(rows.to_numpy()[:2], dtype=torch.float32))
    np.testing.assert_allclose(scores.log_density[:2], known.detach(), rtol=1e-4)
    assert scores.log_density[2] == -np.inf
    assert scores.percentile[0] > 10
    assert scores.flagged.tolist() == [False, True, True]
