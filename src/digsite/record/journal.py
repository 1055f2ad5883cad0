"""The journal of measurements: append-only JSON lines, read back as columns."""

import time
from pathlib import Path
from typing import Any

from digsite.base import jsonl


class Journal:
    def __init__(self, path: Path) -> None:
        self.path = path

    def log(self, step: int, values: dict[str, Any]) -> None:
        jsonl.append(self.path, {"step": step, "time": round(time.time(), 3), **values})

    def size(self) -> int:
        return jsonl.whole_size(self.path)

    def rewind(self, size: int) -> None:
        """Back to what a checkpoint knew; the steps after it are about to be repeated."""
        jsonl.truncate(self.path, size)


def series(path: Path) -> dict[str, tuple[list[float], list[float]]]:
    """Every measured name with its (steps, values), in order of appearance; missing values are left out."""
    columns: dict[str, tuple[list[float], list[float]]] = {}
    for record in jsonl.read(path):
        step = record.get("step", 0)
        for name, value in record.items():
            if (
                name not in ("step", "time")
                and isinstance(value, int | float)
                and not isinstance(value, bool)
            ):
                steps, values = columns.setdefault(name, ([], []))
                steps.append(step)
                values.append(value)
    return columns
