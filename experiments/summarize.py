"""The runs of a sweep as tables and figures: `python experiments/summarize.py runs/SWEEP`; `--help` says more."""

import sys

from flowlab.sweeps.summary import main

if __name__ == "__main__":
    sys.exit(main())
