"""One rank of a run: `python -m flowlab.distributed.worker RUN_DIR ERRORS_DIR`.

`flowlab.distributed.launch` starts it with LOCAL_RANK in the environment.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
import traceback
from pathlib import Path

from flowlab.system.files import write_bytes
from flowlab.system.process import EXIT_INTERRUPTED, STOP_HANDLERS, handle_signals, pause_garbage_collection


def main(directory: str, errors: str) -> int:
    """Train a run as rank LOCAL_RANK; an error goes into the file RANK.pickle of the directory `errors`."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with pause_garbage_collection():
        from flowlab.distributed.world import World, resolve_device
        from flowlab.runs.directory import load_run
        from flowlab.training.build import build
        from flowlab.training.train import train_in_process

    rank = int(os.environ["LOCAL_RANK"])
    try:
        run = load_run(directory)
        settings = run.config.trainer
        device = resolve_device(settings.accelerator, rank)
        with World(rank, settings.devices, rank).connect(device) as world, handle_signals(STOP_HANDLERS):
            train_in_process(run, build(run.config, here=False), world)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:
        error.add_note(f"In rank {rank}:\n{traceback.format_exc()}")
        write_bytes(Path(errors) / f"{rank}.pickle", dump_error(error))
        return 1
    return 0


def dump_error(error: Exception) -> bytes:
    """Pickle an error; one that cannot be read back becomes a RuntimeError with the same words."""
    try:
        content = pickle.dumps(error)
        pickle.loads(content)
    except Exception:
        substitute = RuntimeError(f"{type(error).__name__}: {error}")
        substitute.__notes__ = error.__notes__
        return pickle.dumps(substitute)
    return content


def _end_with_parent() -> None:
    os.read(0, 1)  # returns when the parent has ended, since it alone holds the other end of the pipe
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
