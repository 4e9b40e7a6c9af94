"""Both documents reproduced: `python experiments/reproduce.py`; `--check` reads the committed notebooks alone."""

import sys
from pathlib import Path

from flowlab.claims.reproduce import main

if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent.parent))
