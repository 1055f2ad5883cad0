"""The methods of the graft room that a run can name."""

from collections.abc import Callable
from typing import Any

from digsite.graft.experiments.audit import audit
from digsite.graft.experiments.compare import compare
from digsite.graft.experiments.dictionaries import dictionaries
from digsite.graft.experiments.forensics import forensics

METHODS: dict[str, Callable[[Any, Any], None]] = {
    "compare": compare,
    "audit": audit,
    "forensics": forensics,
    "dictionaries": dictionaries,
}
