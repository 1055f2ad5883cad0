"""Calibration as a step of its own: one constant on the new logits, set on the receiver's held-out images."""

from torch import nn

from digsite.graft.core.access import Access
from digsite.graft.core.edits import Beside, Shifted, edited
from digsite.graft.core.metrics import calibration_shift
from digsite.graft.core.nets import Composite, head, layers, predict
from digsite.graft.core.task import RATE

BUDGET = "a"


def calibrated(model: nn.Module, new: list[int], access: Access, rate: float = RATE) -> nn.Module:
    """The model with `rate` of the held-out old images called new; the bias of its head where it has its own."""
    shift = calibration_shift(predict(model, access.held_old().x), new, rate)
    copy = edited(model)
    last, rows = _writer(copy, new)
    if last is None or last.bias is None:
        return Shifted(model, new, shift)
    last.bias.data[rows] += shift
    return copy


def _writer(model: nn.Module, new: list[int]) -> tuple[nn.Linear | None, list[int]]:
    """The layer that writes the new logits, where the model has one of its own, and its rows for them."""
    if isinstance(model, Beside):
        last = list(layers(model.part).values())[-1]
        return (last if isinstance(last, nn.Linear) else None), [model.classes.index(c) for c in new]
    return (None if isinstance(model, Composite) else head(model)), new
