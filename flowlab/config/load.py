"""Classes and functions of allowed packages, by their names; see `flowlab.config.security`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from flowlab.config.component import Component
from flowlab.config.errors import ConfigError
from flowlab.config.security import check_name, is_allowed


def load_class(where: str, path: Any, kinds: tuple[type, ...]) -> type:
    """Import a class by its name; raise ConfigError if it is not allowed, does not exist, or has other base classes.

    The class must be defined at the top of a module in an allowed package. A class that such a module has imported from
    elsewhere is refused.

    Arguments:
        where: the key that holds the name, for the message.
        path: the name.
        kinds: the class must be derived from one of these.
    """
    found = _load(where, path)
    wanted = " or ".join(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds)
    if not isinstance(found, type) or not issubclass(found, kinds):
        is_component = isinstance(found, type) and issubclass(found, Component)
        hint = "; a component is registered by an entry point, and chosen by its name" if is_component else ""
        raise ConfigError(f"{where}={path}: must be a class derived from {wanted}{hint}")
    _check_module(where, path, found, "class")
    return found


def load_function(where: str, path: str) -> Callable[..., Any]:
    """Import a function by its name; errors and rules as in `load_class`."""
    found = _load(where, path)
    if isinstance(found, type) or not callable(found):
        raise ConfigError(
            f"{where}={path}: must be a function, and is a {type(found).__name__}; a class is target=custom"
        )
    _check_module(where, path, found, "function")
    return found


def _load(where: str, path: str) -> Any:
    check_name(where, path)
    module, _, name = path.rpartition(".")
    try:
        with _working_directory_last():
            return getattr(import_module(module), name)
    except ConfigError:
        raise
    except Exception as error:  # an import may raise anything
        raise ConfigError(f"{where}={path}: cannot be imported: {type(error).__name__}: {error}") from error


def _check_module(where: str, path: str, found: Any, kind: str) -> None:
    """Refuse what an allowed module has imported from one that is not."""
    module = str(getattr(found, "__module__", type(found).__module__))
    if not is_allowed(module):
        raise ConfigError(f"{where}={path}: is defined in {module}, which is not allowed; name the {kind} there")


@contextlib.contextmanager
def _working_directory_last() -> Iterator[None]:
    """Let an allowed package lie in the working directory, whatever program was started; installed ones come first."""
    here = os.getcwd()
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.reverse()  # remove the last one
        sys.path.remove(here)
        sys.path.reverse()
