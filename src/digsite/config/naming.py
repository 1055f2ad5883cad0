"""A setting may be named by the end of its path: `steps` for `decompose.steps`."""

from collections.abc import Iterable
from difflib import get_close_matches

from digsite.base.errors import UsageError, nearest


def place(name: str, leaves: Iterable[str], *, section: str = "", what: str = "config") -> str:
    """The one path that ends in this name; if several do, the one at the top or in the room's own section."""
    known = _nodes(leaves)
    ends = sorted(path for path in known if f".{path}".endswith(f".{name}"))
    own = [path for path in (name, f"{section}.{name}") if path in ends]
    if len(ends) > 1 and not own:
        raise UsageError(f"'{name}' could be {', '.join(ends)} in this {what}.", hint="Write the whole path.")
    if not ends:
        raise UsageError(f"Unknown key '{name}' in this {what}. {_accepted(name, known, section)}")
    return (own or ends)[0]


def _nodes(leaves: Iterable[str]) -> set[str]:
    """Those paths and every path above them."""
    parts = (leaf.split(".") for leaf in leaves)
    return {".".join(part[:end]) for part in parts for end in range(1, len(part) + 1)}


def _accepted(name: str, known: set[str], section: str) -> str:
    """Names are compared by their last part and shown whole, the shallowest of equal ones."""
    order = sorted(known, key=lambda path: (path.count("."), not path.startswith(f"{section}."), path))
    shown = {path.rpartition(".")[2]: path for path in reversed(order)}
    close = get_close_matches(name.rpartition(".")[2], shown, n=3, cutoff=0.75)
    if close:
        return f"Did you mean {' or '.join(repr(shown[word]) for word in close)}?"
    return nearest(name, {path for path in known if "." not in path})
