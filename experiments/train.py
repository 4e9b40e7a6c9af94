"""Train a flow: `python experiments/train.py experiment=banana seed=1`; `--help` lists options."""

import sys

from flowlab.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
