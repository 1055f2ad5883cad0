"""What one step keeps in memory for the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

if TYPE_CHECKING:
    from digsite.decompose.fit import Fit


def kept_bytes(fit: Fit, x: Tensor, counts: Tensor) -> int:
    """Storage that autograd holds in one step; parameters and the target's weights left out."""
    own = [*fit.params.values(), *fit.target.weights().values(), *(fit.weights or {}).values()]
    ours = {value.untyped_storage().data_ptr() for value in own}
    kept: dict[int, int] = {}
    alive: list[Tensor] = []  # so that no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in ours:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        fit.gradients(x, counts, 0, 0.0)
    return sum(kept.values())


def expected_bytes(fit: Fit) -> float:
    """What a member's whole batch would keep, from two and four of its rows: the batch itself might not fit.

    Zero where a loss attacks: its inner gradients cannot be watched.
    """
    if any(loss.kind == "adversarial" for loss in fit.config.losses.values()):
        return 0.0
    x, counts = (drawn[:1] for drawn in fit.draws.batch(0))
    if x.shape[1] <= 4:
        return kept_bytes(fit, x, counts)
    two, four = (kept_bytes(fit, x[:, :n], counts[:, :n]) for n in (2, 4))
    return two + (four - two) / 2 * (x.shape[1] - 2)
