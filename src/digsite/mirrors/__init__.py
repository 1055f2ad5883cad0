"""Copies of a run for the trackers that people already watch: off by default, and a dead tracker never stops a run.

The folder is a family: a class with `Mirror` as its base is a tracker, called by its own name in small letters.
"""

from digsite.mirrors.follow import Mirror, follow_run, list_trackers, refuse_tracker

Member = Mirror

__all__ = ["Member", "Mirror", "follow_run", "list_trackers", "refuse_tracker"]
