"""Reports: one self-contained HTML file about a run, or about several beside each other."""

from digsite.report.page import render, write

__all__ = ["render", "write"]
