"""The grammar of model references: `scheme:target#member`, with `file:` where no scheme is named."""

import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from digsite.base import families
from digsite.base.contract import public_method
from digsite.base.errors import NotFound, UsageError, name_nearest

SOURCES = "digsite.weights.sources"
PLUGINS = (
    "digsite.sources"  # entry points: how floors above this one add a scheme without being imported here
)


@dataclass(frozen=True)
class Reference:
    scheme: str
    target: str
    member: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}:{self.target}" + (f"#{self.member}" if self.member else "")


def schemes() -> list[str]:
    return sorted(
        {*families.list_members(SOURCES), *(point.name for point in metadata.entry_points(group=PLUGINS))}
    )


@public_method()
def refuse_missing(text: str) -> None:
    """Before a run is made for it: a model file that is not there is a slip and not a failed run.

    `text`: a model reference; only files can be looked for without loading anything.
    """
    found = parse_reference(text)
    if found.scheme == "file" and not Path(found.target).expanduser().exists():
        raise NotFound(
            f"There is no model file '{found.target}'.",
            hint=f"A model is file:PATH, or one of {', '.join(f'{name}:' for name in schemes())}",
        )


@public_method()
def parse_reference(text: str) -> Reference:
    """`file:model.safetensors`, `hub:org/name@revision`, `run:ID#artifact`, `zoo:NAME#123`, `py:module:factory`."""
    scheme, colon, rest = text.partition(":")
    if not colon or not re.fullmatch(r"[a-z]{2,}", scheme):  # one letter is a drive, not a scheme
        scheme, rest = "file", text
    if scheme not in schemes():
        known = schemes()
        raise UsageError(
            f"'{text}' names a model by the unknown scheme '{scheme}:'.", hint=name_nearest(scheme, known)
        )
    target, _, member = rest.partition("#")
    if not target:
        raise UsageError(f"'{text}' names no model.", hint=f"Write something behind '{scheme}:'.")
    return Reference(scheme, target, member)
