"""Named random streams: every draw is addressed by (seed, name, indices), so resuming needs no generator state."""

import secrets
from datetime import UTC, datetime
from hashlib import blake2b


def derive_seed(seed: int, name: str, *indices: int) -> int:
    """A 63-bit seed for one stream; different names or indices are independent."""
    address = "/".join([str(seed), name, *map(str, indices)])
    return int.from_bytes(blake2b(address.encode(), digest_size=8).digest(), "big") >> 1


# Run ids: short, lower case, sortable by time: 20261120-0742-k3f.

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # without the look-alikes i, l, o, 0, 1


def new_id(now: datetime | None = None) -> str:
    moment = (now or datetime.now(UTC)).strftime("%Y%m%d-%H%M")
    return f"{moment}-{''.join(secrets.choice(_LETTERS) for _ in range(3))}"


def content_id(text: str, length: int = 10) -> str:
    """An id that depends on content alone, so that planning the same thing twice finds it again."""
    return blake2b(text.encode(), digest_size=16).hexdigest()[:length]
