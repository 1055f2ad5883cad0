"""What every tracker's copy offers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from digsite.config.overrides import paths
from digsite.record.layout import RunDir


class Mirror(Protocol):
    def values(self, step: int, values: Mapping[str, float]) -> None: ...

    def figure(self, name: str, path: Path) -> None: ...

    def table(self, name: str, path: Path) -> None: ...

    def claims(self, values: Mapping[str, float]) -> None: ...

    def close(self, failed: bool) -> None: ...


def settings_of(run: RunDir) -> dict[str, Any]:
    """The config as flat keys, with what identifies the run."""
    launch = run.plan()
    return {"study": launch["study"], "method": launch["method"], **paths(launch["config"])}
