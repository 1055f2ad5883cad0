"""The parts of `run.py` that touch a run directory, one file per method."""
