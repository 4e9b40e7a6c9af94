"""One of the processes that train a run together: `python -m flowlab.distributed.worker RUN_DIR ERRORS_DIR`.

`flowlab.distributed.launch` starts it, with its number in the environment.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from flowlab.system.files import WriteError, write_json
from flowlab.system.imports import quick_imports
from flowlab.system.signals import INTERRUPTED, TERMINABLE, handled


def main(directory: str, errors: str) -> int:
    """Train a run, as the rank that LOCAL_RANK says; an error goes into a file in the directory `errors`."""
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    with quick_imports():
        from flowlab.distributed.world import World
        from flowlab.runs.directory import load_run
        from flowlab.training.progress import progress_callback
        from flowlab.training.train import fit

    rank = int(os.environ["LOCAL_RANK"])
    try:
        run = load_run(directory)
        settings = run.config.trainer
        with World(rank, settings.devices, rank).connected(settings.accelerator) as world, handled(TERMINABLE):
            fit(run, run.target, progress_callback(settings.progress) if world.first else None, world)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        content: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
        content["traceback"] = traceback.format_exc()
        if isinstance(error, WriteError):
            content["system"] = [error.errno, error.strerror, error.filename]
        write_json(Path(errors) / f"{rank}.json", content)
        return 1
    return 0


def _end_with_the_parent() -> None:
    os.read(0, 1)  # returns when nobody is left to write to the pipe
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
