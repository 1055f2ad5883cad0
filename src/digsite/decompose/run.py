"""The studies of this room: every `study_NAME(config, run)` of a file in `experiments/`, found and loaded when it is run."""

from digsite.base.families import FoundStudies

METHODS = FoundStudies("digsite.decompose")
PARALLEL = frozenset(METHODS)  # gradients are means over the processes that torchrun starts
