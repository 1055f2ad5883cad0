"""Kinds of views: each a class with `ViewKind` as its base, called by the kind; a run declares which of its files are shown as what."""

import csv
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException

from digsite.base import atomic, families
from digsite.base.errors import DigsiteError, UsageError
from digsite.record.layout import RunDir
from digsite.serve import places

VIEWS = 1000  # of one run
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
    def is_matrix(self) -> bool:
        """Whether it is drawn as cells, as masks are."""
        return self.kind == "matrix"

    @property
    def key(self) -> str:
        return self.source.partition("#")[2]

    def file(self, relative: str) -> Path:
        if not relative.endswith(ENDINGS):
            raise HTTPException(404, f"The view '{self.name}' has no file that can be shown.")
        return places.find_file(self.run.path, relative)

    def sibling(self, source: str) -> tuple[Path, str]:
        """`#key` is another tensor of the same file; anything else is a source of its own."""
        relative, _, key = source.partition("#")
        return (self.file(relative) if relative else self.path), key


class ViewKind(ABC):
    """One kind of view; its docstring says what its source and its options are."""

    @staticmethod
    @abstractmethod
    def read_data(view: View, params: Any) -> dict[str, Any]:
        """What the browser needs to draw `view`; `params` are those of the address."""


Member = ViewKind


def views_of(run: RunDir) -> list[View]:
    """What the run declares, as far as it makes sense."""
    entries = atomic.read_json_or(run.views, [])
    kinds = set(families.list_members("digsite.serve.views"))
    return [_view_of(run, e) for e in entries[:VIEWS] if isinstance(e, dict) and _names_a_kind(e, kinds)]


def _names_a_kind(entry: dict[str, Any], kinds: set[str]) -> bool:
    return (
        isinstance(entry.get("kind"), str) and entry["kind"] in kinds and isinstance(entry.get("name"), str)
    )


def _view_of(run: RunDir, entry: dict[str, Any]) -> View:
    options = {key: value for key, value in entry.items() if key not in ("name", "kind", "source")}
    return View(run, str(entry["name"]), entry["kind"], str(entry.get("source", "")), options)


def find_view(run: RunDir, name: str) -> View:
    for view in views_of(run):
        if view.name == name:
            return view
    raise HTTPException(404, f"This run has no view '{name}'.")


def read_view(view: View, params: Any) -> dict[str, Any]:
    """What the browser needs to draw the view."""
    with refuse_unreadable(view):
        return families.scan_member("digsite.serve.views", view.kind).read_data(view, params)


@contextmanager
def refuse_unreadable(view: View) -> Iterator[None]:
    """The one place where a view that does not fit its file, its options or this machine's memory becomes a sentence.

    What a run declares is text of anybody's; each kind checks what it can, and numbers that contradict each other
    show themselves where they meet.
    """
    try:
        yield
    except (HTTPException, DigsiteError, IndexError) as error:
        if isinstance(error, IndexError):
            raise HTTPException(404, f"The view '{view.name}' has nothing there.") from None
        raise
    except MemoryError:
        raise UsageError(f"The view '{view.name}' is too large to be drawn.") from None
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        ArithmeticError,
        RecursionError,
        csv.Error,
    ) as error:
        said = str(error).partition("\n")[0][:200]
        raise UsageError(
            f"The view '{view.name}' does not fit '{view.source}': {said or type(error).__name__}."
        ) from None
