"""The methods of the graft room that a run can name."""

from collections.abc import Callable
from typing import Any

from digsite.graft.run_audit import audit
from digsite.graft.run_compare import compare
from digsite.graft.run_dictionaries import dictionaries
from digsite.graft.run_forensics import forensics
from digsite.graft.run_roundtrip import roundtrip

METHODS: dict[str, Callable[[Any, Any], None]] = {
    "compare": compare,
    "audit": audit,
    "forensics": forensics,
    "roundtrip": roundtrip,
    "dictionaries": dictionaries,
}
