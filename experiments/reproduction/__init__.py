"""Execute the notebooks, read the checks that they recorded, and report them: parts of `experiments/reproduce.py`."""
