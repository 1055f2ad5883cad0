"""Numbers in addresses and in views.json: read strictly and within bounds, because anybody may have written them."""

from typing import Any

MOST = 10**9


def whole(text: Any, default: int = 0, *, most: int = MOST) -> int:
    """A whole number from 0 to `most` in plain digits, or `default` for anything else."""
    said = str(text)
    if not (said.isascii() and said.isdigit() and len(said) <= 13):
        return default
    return min(int(said), most)


def wholes(text: str, *, below: int, limit: int = 1000) -> list[int]:
    """The whole numbers below `below` in a list with commas, at most `limit` of them; other words are passed over."""
    found = (whole(word, -1) for word in text.split(",", limit)[:limit])
    return [number for number in found if 0 <= number < below]
