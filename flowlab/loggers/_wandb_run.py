"""A run of Weights & Biases for a run of flowlab, from init to finish."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import socket
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from pytorch_lightning.loggers import Logger
from requests.utils import get_netrc_auth

from flowlab.config.compose import to_dict
from flowlab.config.schemas import WandbConfig
from flowlab.config.secrets import redact
from flowlab.loggers.csv import rows_after
from flowlab.loggers.wandb_file import last_step, mend
from flowlab.system.display import print_line
from flowlab.system.signals import Preempted

if TYPE_CHECKING:
    import wandb
    from matplotlib.figure import Figure

    from flowlab.runs.directory import Run


class WandbRun(Logger):
    """Hands on what a run logs; the steps of Weights & Biases are the optimizer's.

    Arguments:
        theirs: the open run.
        ours: the run directory.
    """

    def __init__(self, theirs: wandb.Run, ours: Run) -> None:
        super().__init__()
        self.theirs, self.ours = theirs, ours

    @property
    def name(self) -> str:
        return "wandb"

    @property
    def version(self) -> str:
        return self.theirs.id

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.theirs.log(metrics, step=step)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The configuration is given when the run is opened."""

    def log_figures(self, figures: dict[str, Figure], step: int) -> None:
        """Show figures as the pictures that a run directory has of them."""
        import wandb

        from flowlab.plotting import save_figure

        with tempfile.TemporaryDirectory() as directory:
            for name, figure in figures.items():
                save_figure(figure, Path(directory, f"{name}.png"))
            pictures = {f"figures/{name}": wandb.Image(f"{directory}/{name}.png") for name in figures}
            self.theirs.log(pictures, step=step)

    def log_outcome(self, result: dict[str, Any]) -> None:
        """Make the final numbers the summary, and the checkpoint and the report artifacts."""
        # What is written of the last step sets the summary as well: it must come before.
        self.theirs.log({}, step=result["steps"], commit=True)
        self.theirs.summary.update(result)
        best = "best" if self.ours.has_checkpoint("best") else "last"
        report = ["result.json", "config.yaml", "metrics.csv"]
        report += sorted(f"figures/{path.name}" for path in self.ours.directory.glob("figures/*.png"))
        with costs_no_run("the artifacts are not uploaded"):
            self._log_artifact("model", [f"checkpoints/{best}.ckpt"])
            self._log_artifact("report", report)

    def _log_artifact(self, kind: str, files: list[str]) -> None:
        """Files of the run directory, read where they lie when they are uploaded.

        Their paths are relative to the working directory: `wandb sync` finds them from there, and the record of the
        run holds no path of this machine.
        """
        import wandb

        artifact = wandb.Artifact(f"{kind}-{self.theirs.id}", type=kind)
        for file in files:
            path = os.path.relpath(self.ours.directory / file)
            artifact.add_file(path, name=file, policy="immutable", skip_cache=True)
        self.theirs.log_artifact(artifact)


@contextlib.contextmanager
def wandb_run(ours: Run) -> Iterator[WandbRun | None]:
    """One run of Weights & Biases, finished in every case; None where the mode is disabled."""
    settings = ours.config.logger
    assert isinstance(settings, WandbConfig)
    mode = mode_of(settings)
    if mode == "disabled":
        yield None
        return
    directory, identifier = ours.directory / "wandb", ours.provenance["run_id"]
    mend(directory)
    known = last_step(directory, identifier)
    theirs = _init(ours, settings, mode)
    if not theirs.offline:
        print_line(f"W&B: {theirs.url}")
        known = theirs.starting_step - 1 if theirs.resumed else 0
    for step, row in rows_after(ours.directory / "metrics.csv", known):
        theirs.log(row, step=step)  # an earlier session was killed before these were sent or written
    exit_code = 1
    try:
        yield WandbRun(theirs, ours)
        exit_code = 0
    except (KeyboardInterrupt, SystemExit) as stop:
        exit_code = 255  # as Weights & Biases has it for what was stopped
        if isinstance(stop, Preempted):
            theirs.mark_preempting()
        raise
    finally:
        with _quiet(), costs_no_run("its run is not finished"):
            theirs.finish(exit_code=exit_code)
        if theirs.offline:
            shown = directory.relative_to(Path.cwd()) if directory.is_relative_to(Path.cwd()) else directory
            print_line(f"W&B ran offline; to upload the run: wandb sync {shlex.quote(str(shown))}")


def _init(ours: Run, settings: WandbConfig, mode: Any) -> wandb.Run:
    origin = ours.provenance
    with _quiet():
        import wandb

        # Nothing of the machine: no output, host, program, git remote or link into the home directory.
        quiet = wandb.Settings(
            console="off",
            disable_git=True,
            host="",
            program="flowlab-train",
            silent=True,
            symlink=False,
            x_disable_machine_info=True,
            x_disable_stats=True,
            x_transaction_log_flush_interval=1.0,  # seconds, for those who look on with `wandb leet`
        )
        try:
            theirs = wandb.init(
                project=settings.project,
                name=settings.run_name or default_name(ours),
                group=settings.group or origin["group"],
                tags=settings.tags,
                job_type="train",
                dir=ours.directory,
                id=origin["run_id"],
                resume="allow",  # offline it is written down: `wandb sync` appends what the sessions of a run have
                mode=mode,
                config=to_dict(ours.config),
                reinit="create_new",
                settings=quiet,
            )
        except wandb.Error as error:
            raise RuntimeError(f"W&B: {error}; logger.mode=offline works without its server") from error
    theirs.define_metric("figures/*", summary="none")
    (Path(theirs.settings.log_dir) / "debug-core.log").unlink(missing_ok=True)  # a link into the home directory
    return theirs


def default_name(ours: Run) -> str:
    """Target and seed; in a sweep after the job's directory."""
    name = f"{ours.config.target.name}_seed{ours.config.seed}"
    return f"{ours.directory.name}_{name}" if ours.provenance["group"] else name


@contextlib.contextmanager
def costs_no_run(what: str) -> Iterator[None]:
    """Say what went wrong with Weights & Biases after the training, which it does not make worse."""
    try:
        yield
    except Exception as error:
        print_line(f"flowlab: W&B: {what}: {type(error).__name__} {redact(str(error))}".rstrip())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Let Weights & Biases log errors alone, and no later process of this one use its service: a rank has its own."""
    logger, service = logging.getLogger("wandb"), os.environ.get("WANDB_SERVICE")
    level = logger.level
    import wandb  # noqa: F401  sets the level when it is imported

    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        if service is None:
            os.environ.pop("WANDB_SERVICE", None)


def mode_of(settings: WandbConfig) -> Any:
    """What `auto` means here: WANDB_MODE where it is set, else online with a key and a network, else offline."""
    if settings.mode != "auto":
        return settings.mode
    if os.environ.get("WANDB_MODE") in ("offline", "online", "disabled"):
        return os.environ["WANDB_MODE"]
    return "online" if has_key() and _reachable() else "offline"


def has_key() -> bool:
    """Whether a key is known, from the environment or from `wandb login`."""
    from wandb.sdk.lib.urls import forge_upstream_url

    places = {_url(), forge_upstream_url(_url())}  # an older `wandb login` has written the second
    return bool(os.environ.get("WANDB_API_KEY") or any(get_netrc_auth(place) for place in places))


def _url() -> str:
    """The server, by the environment or by `wandb login --host`."""
    with _quiet():
        from wandb.sdk import wandb_setup

        return os.environ.get("WANDB_BASE_URL") or wandb_setup.singleton().settings.base_url


def _reachable() -> bool:
    url = urlparse(_url())
    try:
        port = url.port or (443 if url.scheme == "https" else 80)
        socket.create_connection((url.hostname or "", port), timeout=3).close()
    except OSError:
        return False
    return True
