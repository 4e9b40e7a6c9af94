"""Execute the notebooks, read the checks that they recorded, and report them: the parts of `experiments/reproduce.py`."""
