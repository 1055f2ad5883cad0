"""Runs as a static folder: one page each, an index, and the records behind them; any web server can carry it."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from digsite.base import atomic
from digsite.base.errors import UsageError
from digsite.record.layout import RunDir
from digsite.report.facts import Facts, gather_facts
from digsite.report.page import fill_template, render_report

RECORDS = (
    "results.json",
    "launch.yaml",
    "provenance.json",
)  # what a reader needs to check a page or to run it again


def publish_runs(runs: Sequence[RunDir], out: Path) -> Path:
    """Write `out`/index.html, a page for each run and its records; returns the index.

    The folder must be new or empty: what stands there is somebody's, and is not mixed with pages of other runs. Pages need
    nothing from elsewhere, so the folder can be opened from a disk, served, or pushed to a space of the hub as it is.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(
            f"'{out}' exists and is not an empty folder.", hint="Give another --out, or move it away."
        )
    facts = [gather_facts(run) for run in runs]
    try:
        for run, known in zip(runs, facts, strict=True):
            folder = out / page_name(known)
            folder.mkdir(parents=True)
            atomic.write_text(folder / "index.html", render_report([run]))
            for name in RECORDS:
                if (run.path / name).is_file() and not (run.path / name).is_symlink():
                    shutil.copyfile(run.path / name, folder / name)
        pages = [(known, page_name(known)) for known in facts]
        entries = [
            {"facts": f, "page": page, "records": [n for n in RECORDS if (out / page / n).exists()]}
            for f, page in pages
        ]
        atomic.write_text(out / "index.html", fill_template("published.html", entries=entries))
    except OSError as error:
        raise UsageError(f"'{out}' cannot be written: {error.strerror or error}.") from None
    return out / "index.html"


def page_name(facts: Facts) -> str:
    """The folder of a run's page: its study and id, in letters that every server and file system takes."""
    return re.sub(r"[^\w.-]", "-", f"{facts.study}-{facts.id}", flags=re.ASCII)
