"""Named random streams: every draw is addressed by (seed, name, indices), so resuming needs no generator state."""

from hashlib import blake2b


def derive(seed: int, name: str, *indices: int) -> int:
    """A 63-bit seed for one stream; different names or indices are independent."""
    address = "/".join([str(seed), name, *map(str, indices)])
    return int.from_bytes(blake2b(address.encode(), digest_size=8).digest(), "big") >> 1
