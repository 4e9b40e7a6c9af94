"""Errors for a user's mistake: each message names the key, its value, what is allowed and what to type instead."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

# Words of Lightning and of other suites that flowlab does not have, and what to type instead.
RESUME = "resume=RUN_DIR alone continues a run; "
EPOCHS = "training is counted in optimizer steps: max_steps=N; "
GPU = "a GPU is chosen by trainer=gpu, several by trainer=ddp trainer.devices=N; "
ELSEWHERE = {
    "accumulate_grad_batches": "batch_size is the batch of a whole step, shared by trainer.devices processes; ",
    **dict.fromkeys(("ckpt_path", "checkpoint", "resume_from", "resume_from_checkpoint"), RESUME),
    **dict.fromkeys(("epochs", "max_epochs", "num_epochs", "n_epochs"), EPOCHS),
    **dict.fromkeys(("gpu", "gpus", "device", "cuda"), GPU),
    **dict.fromkeys(("learning_rate", "lr_rate"), "the learning rate is optimizer.lr; "),
    **dict.fromkeys(("layers", "n_layers", "num_layers"), "the number of layers is flow.depth; "),
    **dict.fromkeys(("data", "dataset", "datamodule"), "the data are the target: target=file target.path=...; "),
    "model": "the model is the flow: flow=NAME, flow.KEY=...; ",
}


class ConfigError(ValueError):
    """A configuration that cannot be run: the message names the key, its value and what is allowed."""


class DataError(ConfigError):
    """A data file that cannot be used, with the reason and the remedy."""


def did_you_mean(word: str, allowed: Sequence[str]) -> str:
    """Return the closest allowed word, then all allowed words. The same letters in a different order are the closest.

    Example:
        >>> from flowlab.config.errors import did_you_mean
        >>> did_you_mean("dept", ["depth", "rank"])
        "did you mean 'depth'? allowed: depth, rank"
        >>> did_you_mean("rl", ["lr", "betas"])
        "did you mean 'lr'? allowed: lr, betas"
    """
    known = {name.lower(): name for name in allowed}
    swapped = [name for name in known if sorted(name) == sorted(word.lower())]
    close = swapped or difflib.get_close_matches(word.lower(), known, n=1)
    meant = ELSEWHERE.get(word) or (f"did you mean {known[close[0]]!r}? " if close else "")
    return f"{meant}allowed: {', '.join(allowed)}"


# Lines of Hydra's and OmegaConf's messages that hold one of these mean nothing to a user.
FOR_DEVELOPERS = ("HYDRA_FULL_ERROR", "    full_key:", "    reference_type=", "    object_type=")


def shorten(error: Exception) -> str:
    """The lines of a message that mean something to a user."""
    lines = str(error).split("Config search path:")[0].splitlines()
    return "\n".join(line for line in lines if line.strip() and not any(word in line for word in FOR_DEVELOPERS))
