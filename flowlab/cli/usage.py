"""The text of `flowlab-train --help`: the commands, and the options of each group."""

from flowlab.config.overrides import conf_directory, option_names
from flowlab.config.registry import names

COMMANDS = """\
flowlab-train: train a normalizing flow into a run directory

  flowlab-train                                  the default run: Jang's banana
  flowlab-train experiment=NAME KEY=VALUE ...    another experiment, other values
  flowlab-train -m seed=0,1 flow.depth=2,4       every combination, one run each
  flowlab-train resume=RUN_DIR                   continue with a run that was stopped
  flowlab-train -m sweep_resume=SWEEP_DIR        continue with a sweep that was stopped
  flowlab-train hydra.run.dir=RUN_DIR            choose the run directory
  flowlab-train --cfg job                        print the configuration and stop

Groups and their options:
"""


def usage() -> str:
    """The commands, then each group of the configuration with its options, and the metrics."""
    folders = {path.parent.relative_to(conf_directory()).as_posix() for path in conf_directory().rglob("*/*.yaml")}
    options = {group: option_names(group) for group in sorted(folders)} | {"metrics=[...]": names("metric")}
    return COMMANDS + "\n".join(f"  {group:<14} {', '.join(names)}" for group, names in options.items())
