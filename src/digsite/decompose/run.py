"""The room's methods by name; each study runs one of them."""

from collections.abc import Callable
from typing import Any

from digsite.decompose.experiments.exam import exam
from digsite.decompose.experiments.heads import heads
from digsite.decompose.experiments.labels import labels
from digsite.decompose.experiments.modadd import modadd
from digsite.decompose.experiments.model import model
from digsite.decompose.experiments.published import published
from digsite.decompose.experiments.tokens import lm
from digsite.decompose.experiments.toys import toy, toys

METHODS: dict[str, Callable[[Any, Any], None]] = {
    "exam": exam,
    "labels": labels,
    "toy": toy,
    "model": model,
    "lm": lm,
    "heads": heads,
    "modadd": modadd,
    "published": published,
}
PACKED: dict[str, Callable[[list[Any], list[Any]], None]] = {"toy": toys}
PARALLEL = frozenset(METHODS)  # gradients are means over the processes that torchrun starts
