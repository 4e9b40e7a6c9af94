"""Reproduce Jang's tutorial and Keydana's post: `python experiments/reproduce.py`; `--check` only reads notebooks."""

import sys
from pathlib import Path

from flowlab.claims.reproduce import main

if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent.parent))
