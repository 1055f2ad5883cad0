"""Reports: one self-contained HTML file about a run, or about several beside each other."""

from digsite.report.page import render_report, write_report

__all__ = ["render_report", "write_report"]
