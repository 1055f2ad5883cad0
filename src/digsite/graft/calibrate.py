"""Calibration as a step of its own: one constant on the new logits, set on the receiver's held-out images."""

from torch import nn

from digsite.graft.access import Access
from digsite.graft.edits import ReadAll, Shifted, edited
from digsite.graft.metrics import calibration_shift
from digsite.graft.nets import head, head_name, layers, predict
from digsite.graft.task import RATE

BUDGET = "a"


def calibrated(model: nn.Module, new: list[int], access: Access, rate: float = RATE) -> nn.Module:
    """The model with `rate` of the held-out old images called new; the bias of its head where it has its own."""
    shift = calibration_shift(predict(model, access.held_old().x), new, rate)
    if _owns_its_logits(model):
        copy = edited(model)
        head(copy, head_name(copy)).bias.data[new] += shift
        return copy
    if isinstance(model, ReadAll):
        copy = edited(model)
        copy.get_submodule("read").bias.data += shift  # pyright: ignore[reportOperatorIssue]
        return copy
    return Shifted(model, new, shift)


def _owns_its_logits(model: nn.Module) -> bool:
    """True for a plain receiver or union, whose last layer writes all logits."""
    name = list(layers(model))[-1]
    return (
        not name.startswith(("base.", "part.", "read", "a.", "b.", "carry", "encode"))
        and head(model).bias is not None
    )
