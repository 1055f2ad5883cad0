"""What every tracker's copy offers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from digsite.config.overrides import leaf_paths
from digsite.record.layout import RunDir
from digsite.record.results import Results


class Mirror(Protocol):
    def values(self, step: int, values: Mapping[str, float]) -> None: ...

    def figure(self, name: str, path: Path) -> None: ...

    def table(self, name: str, path: Path) -> None: ...

    def claims(self, values: Mapping[str, float]) -> None: ...

    def answer(self, question: str, verdict: str, hero: Path | None) -> None: ...

    def close(self, failed: bool) -> None: ...


def numbers_of(results: Results) -> dict[str, float]:
    """Headline, other claims with their ends and nulls, then measurements, as flat keys."""
    led = {claim.name for claim in results.leading}
    flat: dict[str, float | None] = {}
    for claim in results.claims:
        where = "headline" if claim.name in led else "measurements" if claim.is_measurement else "claims"
        flat[f"{where}/{claim.name}"] = claim.value
        if where != "measurements":
            flat |= {f"{where}/{claim.name}/{end}": getattr(claim, end) for end in ("low", "high", "null")}
    return {key: value for key, value in flat.items() if value is not None}


def settings_of(run: RunDir) -> dict[str, Any]:
    """The config as flat keys, with what identifies the run."""
    launch = run.plan()
    return {"study": launch["study"], "method": launch["method"], **leaf_paths(launch["config"])}
