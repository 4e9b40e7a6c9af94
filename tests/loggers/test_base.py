"""Loggers of a run: metrics.csv first, then the loggers that the configuration names."""

import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib.pyplot
import pytest
import yaml
from loggers.stub_run import log_rows, stub_run
from matplotlib.figure import Figure

from flowlab import compose
from flowlab.config.errors import ConfigError
from flowlab.config.from_class import schema_of_class
from flowlab.config.registry import conf_directory, lookup, names
from flowlab.loggers.base import Logger, LoggerFromClass, figures_every, log_figures, log_outcome, open_loggers


def check_loggers(config):
    for logger in config.logger.values():
        logger.check()


class Everything:
    """Records the rows, figures and results that it receives."""

    def __init__(self):
        self.calls = []

    def log_metrics(self, metrics, step):
        self.calls.append(("row", step, metrics["loss"]))

    def log_figures(self, figures, step):
        self.calls.append(("figures", step, *figures))

    def log_outcome(self, result):
        self.calls.append(("outcome", result["steps"]))


class RowsOnly:
    def __init__(self):
        self.steps = []

    def log_metrics(self, metrics, step=None):  # the interface of Lightning's loggers
        self.steps.append(step)


@dataclass(kw_only=True)
class Opens(Logger):
    sink: object
    figures_every: int | None = None
    ended: str = ""

    @contextmanager
    def open(self, run):
        try:
            yield self.sink
            self.ended = "well"
        except RuntimeError as error:
            self.ended = str(error)
            raise


@pytest.fixture
def run(tmp_path):
    return stub_run(tmp_path / "run")


@pytest.fixture
def figures():
    return {"samples": Figure(), "density": Figure()}


@pytest.mark.parametrize("name", sorted(names("logger")))
def test_yaml_states_the_defaults(name):
    values = yaml.safe_load((conf_directory() / f"logger/{name}.yaml").read_text())
    assert lookup("logger", name)().to_dict() == values


def test_listing_loggers_imports_no_library():
    code = "import sys; from flowlab.config.registry import names; print(*sorted(names('logger'))); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loggers, modules = done.stdout.splitlines()
    assert loggers == "csv tensorboard wandb"
    assert not {"torch", "pytorch_lightning", "wandb", "matplotlib", "requests"} & set(modules.split())


def test_rows_go_to_metrics_csv_first_and_to_all_loggers(run):
    everything, rows = Everything(), RowsOnly()
    run.config.logger = {"all": Opens(sink=everything), "rows": Opens(sink=rows), "none": Opens(sink=None)}
    with open_loggers(run, ["nll", "kl"]) as sinks:
        assert len(sinks) == 3
        log_rows(sinks, [100, 200])
    assert run.metrics["step"].tolist() == rows.steps == [100, 200]
    assert list(run.metrics.columns[:4]) == ["step", "loss", "nll", "kl"]
    assert everything.calls == [("row", 100, 0.01), ("row", 200, 0.005)]
    with open_loggers(run) as sinks:
        assert [sink.last_step for sink in sinks] == [200, 0, 0]
        log_rows(sinks, [200, 300])
    assert rows.steps == [100, 200, 300]


def test_figures_and_results_go_to_the_sinks_that_show_them(run, figures):
    often, seldom, rows = Everything(), Everything(), RowsOnly()
    run.config.logger = {
        "often": Opens(sink=often, figures_every=200),
        "seldom": Opens(sink=seldom, figures_every=300),
        "at the end": Opens(sink=Everything()),
        "rows": Opens(sink=rows, figures_every=100),
    }
    with open_loggers(run) as sinks:
        every = figures_every(run.config.logger.values())
        for step in range(every, 350, every):
            due = [sink for sink in sinks if sink.has_figures_due(step)]
            log_figures(due, figures, step)
        log_outcome(sinks, {"steps": 350}, figures)
    at_the_end = run.config.logger["at the end"].sink
    assert [call[:2] for call in often.calls] == [
        *(("figures", step) for step in (200, 350)),
        ("outcome", 350),
    ]
    assert [call[:2] for call in seldom.calls] == [("figures", 300), ("figures", 350), ("outcome", 350)]
    assert [call[:2] for call in at_the_end.calls] == [("figures", 350), ("outcome", 350)]
    assert every == 100
    assert often.calls[0] == ("figures", 200, "samples", "density")


def test_every_logger_is_closed_and_receives_the_error_of_the_run(run):
    run.config.logger = {"one": Opens(sink=Everything()), "two": Opens(sink=None)}
    with open_loggers(run):
        pass
    assert [logger.ended for logger in run.config.logger.values()] == ["well", "well"]
    with pytest.raises(RuntimeError, match="broken"), open_loggers(run):
        raise RuntimeError("broken")
    assert [logger.ended for logger in run.config.logger.values()] == ["broken", "broken"]


def test_several_loggers_are_chosen_by_name():
    assert list(compose("logger=[csv,tensorboard]", "logger.tensorboard.figures_every=7").logger) == [
        "csv",
        "tensorboard",
    ]
    assert list(compose().logger) == ["csv"]
    assert list(compose("logger=wandb").logger) == ["wandb"]


def test_csv_logger_opens_no_further_sink(run):
    with open_loggers(run) as sinks:
        assert len(sinks) == 1
    assert [path.name for path in run.directory.iterdir()] == ["metrics.csv"]


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ConfigError, match=r"tensorboard; in a clone of flowlab, run pip install .\.\[tensorboard\]."):
        check_loggers(compose("logger=[csv,tensorboard]"))


def test_tensorboard_has_the_rows_and_the_figures(tmp_path, figures):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = stub_run(tmp_path / "run", "logger=tensorboard", "logger.tensorboard.figures_every=200")
    check_loggers(run.config)
    for steps in ([100, 200], [200, 300]):  # resumed after 100
        with open_loggers(run) as sinks:
            log_rows(sinks, steps)
            log_figures([sink for sink in sinks if sink.has_figures_due(steps[-1])], figures, steps[-1])
    log_outcome(sinks[:1], {"steps": 300}, figures)
    events = EventAccumulator(str(run.directory / "tensorboard"), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    for name in set(run.metrics) - {"step"}:
        logged = run.metrics.set_index("step")[name].dropna()
        assert [event.step for event in events.Scalars(name)] == logged.index.tolist()
        assert [event.value for event in events.Scalars(name)] == pytest.approx(logged.tolist())
    assert {tag: [event.step for event in events.Images(tag)] for tag in events.Tags()["images"]} == {
        "samples": [200],
        "density": [200],
    }
    assert matplotlib.pyplot.get_fignums() == []


class Finalized(RowsOnly):
    def __init__(self, save_dir, prefix: str = ""):
        super().__init__()
        self.save_dir, self.prefix, self.status = save_dir, prefix, None

    def finalize(self, status):
        self.status = status


def test_a_class_with_the_interface_of_lightning_is_a_logger(run, tmp_path):
    schema = schema_of_class("logger", Finalized)
    assert issubclass(schema, LoggerFromClass)
    run.config.logger = {"mine": schema(prefix="x")}
    check_loggers(run.config)
    with open_loggers(run) as sinks:
        log_rows(sinks, [100])
    made = sinks[1].destination
    assert (made.save_dir, made.prefix, made.steps, made.status) == (str(run.directory), "x", [100], "success")
    with pytest.raises(RuntimeError), open_loggers(run) as sinks:
        raise RuntimeError
    assert sinks[1].destination.status == "failed"
    run.config.logger = {"mine": schema_of_class("logger", Figure)()}
    with pytest.raises(ConfigError, match=r"must have a method log_metrics\(metrics, step\)"):
        check_loggers(run.config)


@pytest.mark.parametrize("rank", [0, 3])
def test_a_logger_of_lightning_writes_whatever_rank_the_environment_names(run, rank):
    from lightning_utilities.core.rank_zero import rank_zero_only
    from pytorch_lightning.loggers import CSVLogger

    before, rank_zero_only.rank = getattr(rank_zero_only, "rank", 0), rank
    try:
        run.config.logger = {"theirs": schema_of_class("logger", CSVLogger)(prefix="x", flush_logs_every_n_steps=10)}
        run.config.logger["theirs"].check()
        with open_loggers(run) as sinks:
            log_rows(sinks, [100])
    finally:
        rank_zero_only.rank = before
    (written,) = run.directory.glob("lightning_logs/version_0/metrics.csv")
    assert "x-loss" in written.read_text()
