"""The studies of several rooms: every `study_NAME(config, run)` of a file in `experiments/`, found and loaded when it is run."""

from digsite.base.families import FoundStudies

METHODS = FoundStudies("digsite.joint")
