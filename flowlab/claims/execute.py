"""Executing notebooks from scratch, some at a time, each in a kernel of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

CELL_SECONDS = 600  # no cell of a lesson takes as long


def execute(notebooks: Sequence[Path], directory: Path, at_once: int, done: Callable[[Path, float], None]) -> list[str]:
    """Execute notebooks in the directory where they lie, and write them into another; gives what went wrong.

    A notebook of which a cell fails is written as far as it came, with its error. The others are executed all the same.

    Arguments:
        notebooks: their paths.
        directory: where the executed ones go, under the same names.
        at_once: how many kernels run at a time.
        done: told each notebook that is done and the seconds that it took.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for path in notebooks:
        (directory / path.name).unlink(missing_ok=True)

    def one(path: Path) -> str | None:
        begun = time.perf_counter()
        try:
            _execute(path, directory / path.name)
        except Exception as error:  # a kernel that died, a cell without end, a file that is no notebook
            return f"{path.name}: cannot be executed: {type(error).__name__}: {error}"
        done(path, time.perf_counter() - begun)
        return None

    with ThreadPoolExecutor(at_once) as pool:
        return [problem for problem in pool.map(one, notebooks) if problem]


def _execute(path: Path, to: Path) -> None:
    import nbformat
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:  # what an earlier execution left must not count as this one's
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    with TemporaryDirectory(prefix="flowlab-") as sockets:
        # Files as sockets, to which no other user of the machine can listen as he can to those of the network.
        kernel = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=f"{sockets}/kernel")
        client = NotebookClient(
            notebook, km=kernel, timeout=CELL_SECONDS, resources={"metadata": {"path": str(path.parent)}}
        )
        client.owns_km = True  # and so shuts it down
        try:
            client.execute()
        except CellExecutionError:
            pass  # the error stands in the notebook, where it is found
        finally:
            nbformat.write(notebook, to)
