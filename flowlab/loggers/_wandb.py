"""A run of Weights & Biases for a run of flowlab: the server and its key, then a session from init to finish."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from flowlab.config.errors import ConfigError
from flowlab.config.security import redact
from flowlab.loggers.base import rows_after
from flowlab.system.files import write_text
from flowlab.system.process import Preempted, print_line

if TYPE_CHECKING:
    import wandb
    from matplotlib.figure import Figure

    from flowlab.loggers.wandb import Wandb
    from flowlab.runs.directory import Run

HARMLESS = ("entity", "project", "mode", "disabled")
PUBLIC_SERVER = "https://api.wandb.ai"
COMPLETE = "last_step"  # the file in a session's directory that says up to which step the session is complete


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let Weights & Biases log errors alone, and keep its service out of the environment of later processes.

    A rank of the same run must start a service of its own.
    """
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


def has_key() -> bool:
    """Whether a key is known, from the environment or from `wandb login`."""
    with quiet():
        from wandb.sdk.lib.wbauth import read_netrc_auth

        return bool(os.environ.get("WANDB_API_KEY") or read_netrc_auth(host=_server()))


def check_workspace() -> None:
    """Refuse a ./wandb/settings that sends the key elsewhere: Weights & Biases obeys it, whoever has written it."""
    settings = _settings()
    from wandb.sdk.lib.settings_file import SettingsFiles

    path, own = Path(settings.settings_workspace), Path(settings.settings_system or "")
    here, mine = (SettingsFiles(global_settings=None, local_settings=file).all() for file in (path, own))
    servers = (mine.get("base_url", PUBLIC_SERVER), PUBLIC_SERVER)
    for name, value in here.items():
        is_own_server = "WANDB_BASE_URL" in os.environ or value.rstrip("/") in servers
        if not (is_own_server if name == "base_url" else name in HARMLESS):
            raise ConfigError(
                f"{path}: {name}={value}: Weights & Biases would obey it, and send your key where it says; if it is "
                "yours, set WANDB_BASE_URL, or use `wandb login --host`, and remove the line; "
                "logger.wandb.mode=offline sends nothing"
            )


def _settings() -> Any:
    with quiet():
        from wandb.sdk import wandb_setup

        return wandb_setup.singleton().settings


def _server() -> str:
    """The address of the server, from the environment or from `wandb login --host`."""
    return os.environ.get("WANDB_BASE_URL") or _settings().base_url


def _choose_mode(settings: Wandb) -> Any:
    if settings.mode != "auto":
        return settings.mode
    if os.environ.get("WANDB_MODE") in ("offline", "online", "disabled"):
        return os.environ["WANDB_MODE"]
    return "online" if has_key() and _is_reachable() else "offline"


def _is_reachable() -> bool:
    url = urlparse(_server())
    try:
        port = url.port or (443 if url.scheme == "https" else 80)
        socket.create_connection((url.hostname or "", port), timeout=3).close()
    except OSError:
        return False
    return True


class Session:
    """The sink: an open session of a run; the steps of Weights & Biases are the optimizer's.

    Arguments:
        theirs: the run of Weights & Biases.
        ours: the run of flowlab.
        logged: the step of the last row that earlier sessions have logged.
    """

    def __init__(self, theirs: wandb.Run, ours: Run, logged: int) -> None:
        self.theirs, self.ours, self.logged = theirs, ours, logged

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        self.theirs.log(dict(metrics), step=step)
        self.logged = step

    def log_figures(self, figures: Mapping[str, Figure], step: int) -> None:
        """Log figures as the pictures that the run directory has of them."""
        import wandb

        from flowlab.plotting import save_figure

        with tempfile.TemporaryDirectory() as directory:
            for name, figure in figures.items():
                save_figure(figure, Path(directory, f"{name}.png"))
            pictures = {f"figures/{name}": wandb.Image(f"{directory}/{name}.png") for name in figures}
            self.theirs.log(pictures, step=step)

    def log_outcome(self, result: dict[str, Any]) -> None:
        """Make the final numbers the summary, and the checkpoint and the report artifacts."""
        # Weights & Biases copies the last row into the summary when it commits the row: commit it first.
        self.theirs.log({}, step=result["steps"], commit=True)
        self.theirs.summary.update(result)
        best = "best" if self.ours.has_checkpoint("best") else "last"
        figures = sorted(f"figures/{path.name}" for path in self.ours.directory.glob("figures/*.png"))
        with _tolerate_failure("the artifacts are not uploaded"):
            self._log_artifact("model", [f"checkpoints/{best}.ckpt"])
            self._log_artifact("report", ["result.json", "config.yaml", "metrics.csv", *figures])

    def _log_artifact(self, kind: str, files: list[str]) -> None:
        """Log files of the run directory, which are read from there when they are uploaded.

        Their paths are relative to the working directory: `wandb sync` finds them from there, and the session holds no
        path of this machine.
        """
        import wandb

        artifact = wandb.Artifact(f"{kind}-{self.theirs.id}", type=kind)
        for file in files:
            path = os.path.relpath(self.ours.directory / file)
            artifact.add_file(path, name=file, policy="immutable", skip_cache=True)
        self.theirs.log_artifact(artifact)


@contextlib.contextmanager
def open_session(settings: Wandb, ours: Run) -> Iterator[Session | None]:
    """A session of the run, finished in every case; None where the mode is disabled.

    Rows of metrics.csv that earlier sessions have not logged are logged first.
    """
    mode = _choose_mode(settings)
    if mode == "disabled":
        yield None
        return
    directory = ours.directory / "wandb"
    logged = _last_step(directory)
    replaces = mode == "offline" and logged is None
    if replaces:
        for file in directory.glob("*run-*/*.wandb"):
            file.unlink()
        shutil.rmtree(directory, ignore_errors=True)  # the service of a killed process may still be writing there
    theirs = _init(settings, ours, mode, resume=None if replaces else "allow")
    if not theirs.offline:
        print_line(f"W&B: {theirs.url}")
        logged = theirs.starting_step - 1 if theirs.resumed else 0
    sink = Session(theirs, ours, logged or 0)
    exit_code = 1
    try:
        for step, row in rows_after(ours.directory / "metrics.csv", sink.logged):
            sink.log_metrics(row, step)
        yield sink
        exit_code = 0
    except (KeyboardInterrupt, SystemExit) as stop:
        exit_code = 255  # the code of Weights & Biases for a run that was stopped
        if isinstance(stop, Preempted):
            theirs.mark_preempting()
        raise
    finally:
        with quiet(), _tolerate_failure("its run is not finished"):
            theirs.finish(exit_code=exit_code)
            if exit_code != 1:
                write_text(Path(theirs.settings.sync_dir) / COMPLETE, f"{sink.logged}\n")
        if theirs.offline:
            shown = directory.relative_to(Path.cwd()) if directory.is_relative_to(Path.cwd()) else directory
            print_line(f"W&B ran offline; to upload the run: wandb sync {shlex.quote(str(shown))}")


def _last_step(directory: Path) -> int | None:
    """The last step that the earlier sessions of a run have logged, or None if one of them may be incomplete.

    A session is incomplete if a kill or an error ended it, and nobody knows which of its rows were written, or are
    uploaded already. The next offline session then replaces all of them. It logs metrics.csv from its first row, and it
    does not ask to resume. So `wandb sync` writes over what the server has of the run.
    """
    try:
        return max((int((session / COMPLETE).read_text()) for session in directory.glob("*run-*")), default=0)
    except (OSError, ValueError):
        return None


def _init(settings: Wandb, ours: Run, mode: Any, resume: Any) -> wandb.Run:
    origin, default_name = ours.provenance, f"{ours.config.target.name}_seed{ours.config.seed}"
    if origin["group"]:  # in a sweep after the job's number
        default_name = f"{ours.directory.name}_{default_name}"
    with quiet():
        import wandb

        # Nothing of the machine: no output, host, program, git remote or link into the home directory.
        private = wandb.Settings(
            console="off",
            disable_git=True,
            host="",
            program="flowlab-train",
            silent=True,
            symlink=False,
            x_disable_machine_info=True,
            x_disable_stats=True,
            x_transaction_log_flush_interval=1.0,  # seconds, for those who watch with `wandb leet`
        )
        try:
            theirs = wandb.init(
                project=settings.project or os.environ.get("WANDB_PROJECT") or "flowlab",
                entity=settings.entity or os.environ.get("WANDB_ENTITY"),
                name=settings.run_name or os.environ.get("WANDB_NAME") or default_name,
                group=settings.group or os.environ.get("WANDB_RUN_GROUP") or origin["group"],
                tags=settings.tags or [tag for tag in os.environ.get("WANDB_TAGS", "").split(",") if tag],
                job_type="train",
                dir=ours.directory,
                id=origin["run_id"],
                resume=resume,  # offline it is recorded: `wandb sync` then appends the session to those before
                mode=mode,
                config=ours.config.to_dict(),
                reinit="create_new",
                settings=private,
            )
        except wandb.Error as error:
            raise RuntimeError(f"W&B: {error}; logger.{settings.name}.mode=offline works without its server") from error
    theirs.define_metric("figures/*", summary="none")
    (Path(theirs.settings.log_dir) / "debug-core.log").unlink(missing_ok=True)  # a link into the home directory
    return theirs


@contextlib.contextmanager
def _tolerate_failure(what: str) -> Iterator[None]:
    """Print what went wrong with Weights & Biases after training, and continue: the run itself is done."""
    try:
        yield
    except Exception as error:
        print_line(f"flowlab: W&B: {what}: {type(error).__name__} {redact(str(error))}".rstrip())
