"""Kinds of views: one file each, named after the kind; a run declares which of its files are shown as what."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException

from digsite.base import families
from digsite.record.layout import RunDir
from digsite.serve import places

ENDINGS = (".safetensors", ".json", ".csv", ".jsonl", ".png", ".svg")


@dataclass(frozen=True)
class View:
    """One entry of views.json."""

    run: RunDir
    name: str
    kind: str
    source: str
    options: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def path(self) -> Path:
        """The file behind the view; like every file it must lie in the run's own folder."""
        return self.file(self.source.partition("#")[0])

    @property
    def key(self) -> str:
        return self.source.partition("#")[2]

    def file(self, relative: str) -> Path:
        if not relative.endswith(ENDINGS):
            raise HTTPException(404, f"The view '{self.name}' has no file that can be shown.")
        return places.file(self.run.path, relative)

    def sibling(self, source: str) -> tuple[Path, str]:
        """`#key` is another tensor of the same file; anything else is a source of its own."""
        relative, _, key = source.partition("#")
        return (self.file(relative) if relative else self.path), key


def views_of(run: RunDir) -> list[View]:
    """What the run declares, as far as it makes sense."""
    try:
        stored = json.loads(run.views.read_bytes())
    except (OSError, json.JSONDecodeError, UnicodeDecodeError):
        return []
    entries = stored if isinstance(stored, list) else []
    kinds = set(families.names("digsite.serve.views"))
    return [_view(run, e) for e in entries if isinstance(e, dict) and e.get("kind") in kinds and "name" in e]


def _view(run: RunDir, entry: dict[str, Any]) -> View:
    options = {key: value for key, value in entry.items() if key not in ("name", "kind", "source")}
    return View(run, str(entry["name"]), entry["kind"], str(entry.get("source", "")), options)


def find_view(run: RunDir, name: str) -> View:
    for view in views_of(run):
        if view.name == name:
            return view
    raise HTTPException(404, f"This run has no view '{name}'.")


def data(view: View, params: Any) -> dict[str, Any]:
    """What the browser needs to draw the view."""
    return families.scan("digsite.serve.views")[view.kind].data(view, params)
