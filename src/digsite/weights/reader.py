"""One reader for every reference and every format: `scheme:target#member`, with `file:` where no scheme is named."""

import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from digsite.base import families, settings
from digsite.base.contract import public_method
from digsite.base.errors import DigsiteError, NotFound, UsageError, name_nearest, one_sentence
from digsite.record.listing import find_run
from digsite.weights.bundle import WeightBundle

FORMATS, SOURCES = "digsite.weights.formats", "digsite.weights.sources"
# Entry points: how floors above this one add a scheme without being imported here.
PLUGINS = "digsite.sources"


@dataclass(frozen=True)
class Reference:
    """What names a model: where it is looked for, by which name there, and which member of a collection."""

    scheme: str
    target: str
    member: str = ""

    @property
    def is_file(self) -> bool:
        """Whether it is a path of this machine."""
        return self.scheme == "file"

    @property
    def is_code(self) -> bool:
        """Whether it is a function of the user's own that makes a module; all others are weights."""
        return self.scheme == "py"

    def __str__(self) -> str:
        return f"{self.scheme}:{self.target}" + (f"#{self.member}" if self.member else "")


@public_method()
def parse_reference(text: str) -> Reference:
    """`file:model.safetensors`, `hub:org/name@revision`, `run:ID#artifact`, `zoo:NAME#123`, `py:module:factory`.

    `text` is what a person writes. Without a scheme it is a file; a scheme of one letter is a drive of Windows.
    """
    scheme, colon, rest = text.partition(":")
    if not colon or not re.fullmatch(r"[a-z]{2,}", scheme):  # one letter is a drive, not a scheme
        scheme, rest = "file", text
    # Installed packages are asked for plug-ins only where no scheme of our own is meant: that takes 12 ms a model.
    if scheme not in families.list_members(SOURCES) and scheme not in (known := list_schemes()):
        raise UsageError(
            f"'{text}' names a model by the unknown scheme '{scheme}:'.", hint=name_nearest(scheme, known)
        )
    target, _, member = rest.partition("#")
    if not target:
        raise UsageError(f"'{text}' names no model.", hint=f"Write something behind '{scheme}:'.")
    return Reference(scheme, target, member)


def list_schemes() -> list[str]:
    """The schemes of this floor and those that floors above it add."""
    return sorted(
        {*families.list_members(SOURCES), *(point.name for point in metadata.entry_points(group=PLUGINS))}
    )


@public_method()
def refuse_missing(text: str) -> None:
    """Before a run is made for it: a model file that is not there is a slip and not a failed run.

    `text`: a model reference. Files, runs and the module of a factory are looked for, and nothing is loaded.
    """
    reference = parse_reference(text)
    if reference.scheme == "run":
        find_run(reference.target, settings.runs_dir())
    module = reference.target.partition(":")[0].partition(".")[0]
    if reference.scheme == "py" and not _has_module(module):
        raise NotFound(f"There is no module '{module}', asked for by '{reference}'.")
    if not reference.is_file:
        return
    path = Path(reference.target).expanduser()
    if path.is_dir() and not any(path.iterdir()):
        raise NotFound(f"The folder '{path}' is empty: there is no model in it.")
    if not path.exists():
        raise NotFound(
            f"There is no model file '{reference.target}'.",
            hint=f"A model is file:PATH, or one of {', '.join(f'{name}:' for name in list_schemes())}",
        )


def _has_module(name: str) -> bool:
    """Whether a module or package of this name is installed, or lies in the working directory."""
    try:
        return bool(importlib.util.find_spec(name) or PathFinder.find_spec(name, [str(Path.cwd())]))
    except (ImportError, ValueError):
        return False


@public_method()
def read_weights(reference: str | Reference) -> WeightBundle:
    """The weights that a reference names: `file:`, `hub:`, `run:`, `wandb:`, `py:`, and what plug-ins add.

    `reference` is text or an already parsed one. Nothing but headers is read until a tensor is asked for.
    """
    asked = parse_reference(reference) if isinstance(reference, str) else reference
    bundle = _find_reader(asked.scheme)(asked.target, asked.member)
    return WeightBundle(bundle.tensors, {**bundle.meta, "reference": str(asked)}, bundle.tied)


@lru_cache
def _list_formats() -> tuple[Any, ...]:
    """Looked up once: a folder of a hundred models asks a hundred times."""
    return tuple(families.scan_family(FORMATS).values())


def _find_reader(scheme: str) -> Callable[[str, str], WeightBundle]:
    """What reads a target and its member: of a scheme in `sources`, or `read` of what an entry point names."""
    if scheme in families.list_members(SOURCES):
        return families.scan_member(SOURCES, scheme).read_target
    (point, *_) = metadata.entry_points(group=PLUGINS, name=scheme)
    return point.load().read


@public_method()
def open_weights(path: Path) -> WeightBundle:
    """A file or folder, in the format that its content says.

    `path` is a file or folder. Formats look at the first bytes and not at the ending, which people change; the
    first that recognizes its own reads it, and whatever breaks inside of that is one sentence.
    """
    if not path.exists():
        raise NotFound(f"There is no file or folder '{path}'.")
    for form in _list_formats():
        if form.fits_content(path):
            with one_sentence(f"Reading '{path}'", "The file is damaged, or not what its beginning says."):
                bundle = form.read_path(path)
            if not bundle.tensors:
                left = bundle.meta.get("unread", {})
                first = next((f"; '{name}': {entry['reason']}" for name, entry in left.items()), "")
                raise DigsiteError(f"'{path}' holds no tensors{' that can be read' if left else ''}{first}.")
            return WeightBundle(bundle.tensors, {"path": str(path), **bundle.meta}, bundle.tied)
    raise DigsiteError(
        f"'{path}' is not a model: its content is none of the formats that are read.",
        hint=f"Accepted: {', '.join(families.list_members(FORMATS))}.",
    )
