"""How commands end; and what those on a finished run share: their words RUN KEY=VALUE ..., their files and columns."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from flowlab.config.component import as_typed
from flowlab.config.errors import ConfigError
from flowlab.config.security import redact
from flowlab.config.untrusted import printable
from flowlab.system.files import WriteError
from flowlab.system.process import EXIT_INTERRUPTED, STOP_HANDLERS, handle_signals, protect_output

if TYPE_CHECKING:
    from flowlab.flow import Flow
    from flowlab.runs.directory import Run

T = TypeVar("T")

OK, FAILED, MISTAKE = 0, 1, 2


def carry_out(arguments: Sequence[str] | None, usage: str, options: type[T], work: Callable[[Run, T], None]) -> int:
    """Carry out a command on a run; gives the exit status.

    Arguments:
        arguments: RUN KEY=VALUE ...; None takes the words of this process.
        usage: what --help prints.
        options: a dataclass of the keys.
        work: does the command's work.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    with protect_output():
        if "-h" in words or "--help" in words or not words:
            print(usage)
            return OK if words else MISTAKE
        return report_mistakes(lambda: _work(words, options, work), "nothing was written")


def _work(words: list[str], options: type[T], work: Callable[[Run, T], None]) -> int:
    directory, given = _parse(words)
    chosen = as_typed(options, given, "")
    from flowlab.runs.directory import load_run

    work(load_run(directory), chosen)
    return OK


def report_mistakes(start: Callable[[], int], interrupted: str) -> int:
    """Start a command, and print an error as one line. The result is the exit status.

    Arguments:
        start: does the work and returns the exit status.
        interrupted: what the line on an interruption says if the interruption itself says nothing.
    """
    try:
        with handle_signals(STOP_HANDLERS):
            return start()
    except ConfigError as error:
        print(f"flowlab: {describe(error)}", file=sys.stderr)
        return MISTAKE
    except WriteError as error:
        print(f"flowlab: {error}", file=sys.stderr)
        return FAILED
    except OSError as error:  # before a run begins; later errors are recorded in its directory
        print(f"flowlab: {error.filename}: cannot be used: {error.strerror}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt as stopped:
        said = f"continue with {stopped}" if str(stopped) else interrupted
        print(f"flowlab: interrupted; {said}", file=sys.stderr)
        return EXIT_INTERRUPTED


def describe(error: Exception) -> str:
    """The message of an error without secrets and control characters."""
    return printable(redact(str(error).strip()))


def _parse(words: list[str]) -> tuple[str, dict[str, Any]]:
    """The run directory, and the keys with their values."""
    if flags := [word for word in words if word.startswith("-")]:
        raise ConfigError(f"{flags[0]}: no such option; a key has no hyphens before it: {flags[0].lstrip('-')}")
    directories = [word for word in words if "=" not in word]
    if len(directories) != 1:
        said = " ".join(directories) or "no run directory"
        raise ConfigError(f"{said}: give one run directory, such as runs/NAME, and KEY=VALUE")
    given = {}
    for word in words:
        name, separator, text = word.partition("=")
        if separator and name in given:
            raise ConfigError(f"{name}: is given twice; give it once")
        if separator:
            given[name] = _value(name, text)
    return directories[0], given


def _value(name: str, text: str) -> Any:
    """A number, a list or a word, as YAML reads it."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"{name}={text}: cannot be read; a list is [1,2]") from None
    return value if isinstance(value, bool | int | float | list | None) else text


def trained_flow(run: Run) -> Flow:
    """The flow of a run on vectors, with the weights of its result."""
    if not run.result:
        raise ConfigError(f"{run.directory}: has no result yet: {run!r}; continue it with resume={run.directory}")
    if len(run.flow.event_shape) != 1:
        raise ConfigError(f"{run.directory}: its points have shape {tuple(run.flow.event_shape)}, and a table has rows")
    return run.flow


def columns_of(run: Run) -> list[str]:
    """Return the names of a run's columns; a run of an earlier version has the columns of its target."""
    return list(run.provenance.get("columns") or run.target.columns)
