"""Launchers start `digsite exec` on planned run directories; they never import what they start."""

from digsite.launch.work import Options, Work, launch, refuse_unknown

__all__ = ["Options", "Work", "launch", "refuse_unknown"]
