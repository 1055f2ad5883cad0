"""Run ids: short, lower case, sortable by time: 20261120-0742-k3f."""

import secrets
from datetime import UTC, datetime
from hashlib import blake2b

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # without the look-alikes i, l, o, 0, 1


def new_id(now: datetime | None = None) -> str:
    moment = (now or datetime.now(UTC)).strftime("%Y%m%d-%H%M")
    return f"{moment}-{''.join(secrets.choice(_LETTERS) for _ in range(3))}"


def content_id(text: str, length: int = 10) -> str:
    """An id that depends on content alone, so that planning the same thing twice finds it again."""
    return blake2b(text.encode(), digest_size=16).hexdigest()[:length]
