"""Executing notebooks from scratch, some at a time, each in a kernel of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

CELL_SECONDS = 600  # no cell of a lesson takes as long


def execute(
    notebooks: Sequence[Path], directory: Path, at_once: int, done: Callable[[Path, float], None]
) -> list[Path]:
    """Execute notebooks in the directory where they lie, and write them into another; gives the new paths.

    A notebook that fails is written as far as it came, with its error.

    Arguments:
        notebooks: their paths.
        directory: where the executed ones go, under the same names.
        at_once: how many kernels run at a time.
        done: told each notebook that is done and the seconds that it took.
    """
    directory.mkdir(parents=True, exist_ok=True)

    def one(path: Path) -> Path:
        begun = time.perf_counter()
        written = _execute(path, directory / path.name)
        done(path, time.perf_counter() - begun)
        return written

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(one, notebooks))


def _execute(path: Path, to: Path) -> Path:
    import nbformat
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = nbformat.read(path, as_version=4)
    with TemporaryDirectory(prefix="flowlab-") as sockets:
        # Files as sockets, to which no other user of the machine can listen as he can to those of the network.
        kernel = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=f"{sockets}/kernel")
        client = NotebookClient(
            notebook, km=kernel, timeout=CELL_SECONDS, resources={"metadata": {"path": str(path.parent)}}
        )
        try:
            client.execute()
        except CellExecutionError:
            pass  # the error stands in the notebook, where it is found
        finally:
            nbformat.write(notebook, to)
    return to
