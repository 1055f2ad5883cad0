"""Copies of a run for the trackers that people already watch: off by default, and a dead tracker never stops a run."""

from digsite.mirrors.follow import KINDS, follow, kinds, refuse_unknown

__all__ = ["KINDS", "follow", "kinds", "refuse_unknown"]
