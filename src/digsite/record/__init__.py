"""The run directory, which is the database: whoever shows results only reads these folders."""

from digsite.record.layout import RunDir, create
from digsite.record.listing import find_run, runs_in, statuses
from digsite.record.results import Claim, Results, read_results

__all__ = ["Claim", "Results", "RunDir", "create", "find_run", "read_results", "runs_in", "statuses"]
