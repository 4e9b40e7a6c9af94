"""Execute notebooks from scratch, several at a time, each in its own kernel."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

CELL_SECONDS = 600  # every cell of a lesson takes less


def execute(notebooks: Sequence[Path], directory: Path, at_once: int, done: Callable[[Path, float], None]) -> list[str]:
    """Execute notebooks in their own directory, write them into another, and return the problems.

    A notebook with a failing cell is written up to that cell, with its error; the other notebooks still run.

    Arguments:
        notebooks: the paths of the notebooks.
        directory: where the executed notebooks are written, under the same names.
        at_once: the number of kernels that run at a time.
        done: called with each executed notebook and its seconds.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for path in notebooks:
        (directory / path.name).unlink(missing_ok=True)

    def execute_one(path: Path) -> str | None:
        start = time.perf_counter()
        try:
            _execute(path, directory / path.name)
        except Exception as error:  # a dead kernel, an endless cell, a file that is no notebook
            return f"{path.name}: cannot be executed: {type(error).__name__}: {error}"
        done(path, time.perf_counter() - start)
        return None

    with ThreadPoolExecutor(at_once) as pool:
        return [problem for problem in pool.map(execute_one, notebooks) if problem]


def _execute(path: Path, to: Path) -> None:
    import nbformat
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:  # outputs of an earlier execution must not count
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    with TemporaryDirectory(prefix="flowlab-") as sockets:
        # Sockets as files: other users of the machine cannot listen to them, as they can to network sockets.
        kernel = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=f"{sockets}/kernel")
        client = NotebookClient(
            notebook, km=kernel, timeout=CELL_SECONDS, resources={"metadata": {"path": str(path.parent)}}
        )
        client.owns_km = True  # so the client shuts the kernel down
        try:
            client.execute()
        except CellExecutionError:
            pass  # the notebook holds the error, and gather reports it
        finally:
            nbformat.write(notebook, to)
