"""Launchers start `digsite exec` on planned run directories; they never import what they start."""

from digsite.launch.work import Options, Work, launch_sweep, refuse_launcher

__all__ = ["Options", "Work", "launch_sweep", "refuse_launcher"]
