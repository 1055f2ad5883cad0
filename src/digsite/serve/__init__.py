"""The dashboard: a local, read-only web server over a folder of runs; it never imports torch."""

from digsite.serve.app import build_app

__all__ = ["build_app"]
