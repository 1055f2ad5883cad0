"""What a file holds and a reader leaves out: its reason and its size, so that the share can be said."""

from collections.abc import Sequence
from math import prod
from typing import Any


def unread(reason: str, shape: Sequence[int] = ()) -> dict[str, Any]:
    """One entry of a bundle's `meta["unread"]`; entries without a shape count as one number."""
    return {"reason": reason, "shape": [int(side) for side in shape]}


def understood(bundle: Any) -> list[str]:
    """What of a file was left out, with its share of the numbers in it: the first lines of any answer about it."""
    left = getattr(bundle, "meta", {}).get("unread", {})
    if not left:
        return []
    missing = sum(prod(entry.get("shape", ())) for entry in left.values())
    read = sum(prod(bundle.shape(name)) for name in bundle.tensors)
    first = next(iter(left))
    return [
        f"not understood: {len(left)} of {len(left) + len(bundle.tensors)} entries, {missing / max(read + missing, 1):.1%} "
        f"of the numbers, first '{first}' ({left[first]['reason']})"
    ]
