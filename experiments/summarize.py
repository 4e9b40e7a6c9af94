"""Summarize a sweep in tables and figures: `python experiments/summarize.py runs/SWEEP`; `--help` lists options."""

import sys

from flowlab.sweeps.summary import main

if __name__ == "__main__":
    sys.exit(main())
