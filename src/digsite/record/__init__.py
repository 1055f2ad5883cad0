"""The run directory, which is the database: whoever shows results only reads these folders."""

from digsite.record.layout import RunDir, create_run
from digsite.record.listing import find_run, list_statuses, runs_in
from digsite.record.results import Claim, Results, read_results

__all__ = ["Claim", "Results", "RunDir", "create_run", "find_run", "list_statuses", "read_results", "runs_in"]
