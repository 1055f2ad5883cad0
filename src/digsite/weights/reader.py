"""One reader for every reference and every format."""

from importlib import import_module, metadata
from pathlib import Path

from digsite.base import families
from digsite.base.contract import public_method
from digsite.base.errors import DigsiteError, NotFound, one_sentence
from digsite.weights.bundle import WeightBundle
from digsite.weights.reference import PLUGINS, SOURCES, Reference, parse_reference

FORMATS = "digsite.weights.formats"


@public_method()
def read_weights(reference: str | Reference) -> WeightBundle:
    """The weights that a reference names: `file:`, `hub:`, `run:`, `wandb:`, `py:`, and what plug-ins add."""
    found = parse_reference(reference) if isinstance(reference, str) else reference
    bundle = _source(found.scheme).read(found.target, found.member)
    return WeightBundle(bundle.tensors, {**bundle.meta, "reference": str(found)}, bundle.tied)


def _source(scheme: str):
    if scheme in families.list_members(SOURCES):
        return import_module(f"{SOURCES}.{scheme}")
    (point, *_) = metadata.entry_points(group=PLUGINS, name=scheme)
    return point.load()


@public_method()
def open_weights(path: Path) -> WeightBundle:
    """A file or folder, in the format that its content says."""
    if not path.exists():
        raise NotFound(f"There is no file or folder '{path}'.")
    for form in families.scan_family(FORMATS).values():
        if form.matches(path):
            with one_sentence(f"Reading '{path}'", "The file is damaged, or not what its beginning says."):
                bundle = form.read(path)
            if not bundle.tensors:
                raise DigsiteError(f"'{path}' holds no tensors.")
            return WeightBundle(bundle.tensors, {"path": str(path), **bundle.meta}, bundle.tied)
    raise DigsiteError(
        f"'{path}' is not a model: its content is none of the formats that are read.",
        hint=f"Accepted: {', '.join(families.list_members(FORMATS))}.",
    )
