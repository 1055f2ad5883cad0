"""A run in a notebook: its claims, measurements, tables and figures as attributes, and a small page as its picture."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from digsite.record.journal import read_series
from digsite.record.layout import RunDir
from digsite.record.results import Claim
from digsite.report.facts import Facts, gather_facts
from digsite.report.page import render_brief


class Run:
    """What `digsite.run` and `digsite.open_run` return; it reads the run directory and never writes."""

    def __init__(self, directory: RunDir) -> None:
        self.directory = directory

    @property
    def path(self) -> Path:
        return self.directory.path

    @property
    def id(self) -> str:
        return self.directory.id

    @property
    def facts(self) -> Facts:
        return gather_facts(self.directory)

    @property
    def state(self) -> str:
        return self.directory.status().shown_state

    @property
    def verdict(self) -> str:
        return self.facts.verdict

    @property
    def config(self) -> Mapping[str, Any]:
        return self.directory.plan()["config"]

    @property
    def claims(self) -> dict[str, Claim]:
        """Claims and measurements, in order of weight."""
        return {claim.name: claim for claim in self.facts.claims}

    @property
    def headline(self) -> dict[str, Claim]:
        """What the answer leads with."""
        return {claim.name: claim for claim in self.facts.leading}

    @property
    def measurements(self) -> dict[str, Claim]:
        return {claim.name: claim for claim in self.facts.claims if claim.is_measurement}

    def __getitem__(self, claim: str) -> float | None:
        """The value of one claim."""
        return self.claims[claim].value

    def metrics(self) -> dict[str, tuple[list[float], list[float]]]:
        """Every measured name with its (steps, values)."""
        return read_series(self.directory.journal)

    @property
    def tables(self) -> tuple[str, ...]:
        return self.facts.tables

    def table(self, name: str) -> Any:
        """A table as a pandas DataFrame."""
        import pandas as pd

        return pd.read_csv(self.directory.tables / f"{name}.csv")

    @property
    def figures(self) -> dict[str, Path]:
        """The file of each figure by name."""
        return {p.name: p.file for p in self.facts.pictures if p.file}

    def __repr__(self) -> str:
        facts = self.facts
        return (
            f"Run({facts.name}, {facts.state}): {facts.verdict}"
            if facts.verdict
            else f"Run({facts.name}, {facts.state})"
        )

    def _repr_html_(self) -> str:
        """In a frame of its own, so that the notebook's style and ours leave each other alone."""
        height = 300 + 95 * len(self.facts.leading) + (330 if self.facts.pictures else 0)
        page = escape(render_brief(self.directory), quote=True)
        return f'<iframe sandbox srcdoc="{page}" width="100%" height="{height}" style="border:0"></iframe>'
