"""The math of torch.optim on (K, P) matrices, with learning rate, decay and momentum of each row its own.

Written by hand because torch.optim takes one learning rate per parameter group: that would be a call per member.
Wide rows of Adam are the exception: there the call costs nothing, and torch's kernel reads each number once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from digsite.train.member import Member

EPS = 1e-8
RMS_ALPHA = 0.99
# Numbers in a row from which a kernel call per row beats five passes over all rows (measured: 1.4x here, 2x from 50,000).
# A matter of the row alone, so that a member trains the same whoever it is stacked with.
WIDE = 20_000


@dataclass
class Optimizer:
    """State and hyperparameters of the rows of one group; rows are updated in place."""

    kind: str
    decay: Tensor
    momentum: Tensor
    betas: tuple[float, float]
    slots: dict[str, Tensor] = field(default_factory=dict)
    has_decay: bool = False
    has_momentum: bool = False

    @classmethod
    def of(cls, members: Sequence[Member], like: Tensor) -> "Optimizer":
        """`like` is the (K, P) parameter matrix; the members share kind and betas."""
        kind = members[0].optimizer
        usual = 0.9 if kind == "momentum" else 0.0
        momentum = [usual if m.momentum is None else m.momentum for m in members]
        decay = [m.weight_decay for m in members]
        column = {"dtype": like.dtype, "device": like.device}
        made = cls(
            kind,
            torch.tensor(decay, **column)[:, None],
            torch.tensor(momentum, **column)[:, None],
            members[0].betas,
            has_decay=any(decay),
            has_momentum=any(momentum),
        )
        made.slots = {name: torch.zeros_like(like) for name in made._slot_names()}
        return made

    def _slot_names(self) -> tuple[str, ...]:
        names = {"sgd": (), "momentum": ("velocity",), "rmsprop": ("square",), "adam": ("mean", "square")}
        extra = ("velocity",) if self.kind == "rmsprop" and self.has_momentum else ()
        return (*names["adam" if self.kind == "adamw" else self.kind], *extra)

    def step(self, params: Tensor, grads: Tensor, rate: Tensor, count: int) -> None:
        """One update of all rows; `rate` is (K,), `count` is 1 at the first; `grads` is used as scratch."""
        if self.kind in ("adam", "adamw") and params.shape[1] >= WIDE:
            return self._step_wide(params, grads, rate, count)
        rate = rate[:, None]
        if self.has_decay and self.kind == "adamw":
            params.mul_(1 - rate * self.decay)
        elif self.has_decay:
            grads.addcmul_(params, self.decay)
        RULES[self.kind](self, params, grads, rate, count)

    def _step_wide(self, params: Tensor, grads: Tensor, rate: Tensor, count: int) -> None:
        kernel = torch._fused_adam_ if self.kind == "adam" else torch._fused_adamw_
        steps = [torch.tensor(float(count), device=params.device)]
        mean, square = self.slots["mean"], self.slots["square"]
        rates, decays = rate.tolist(), self.decay.flatten().tolist()
        for p, g, m, v, lr, decay in zip(params, grads, mean, square, rates, decays, strict=True):
            kernel(
                [p],
                [g],
                [m],
                [v],
                [],
                steps,
                lr=lr,
                beta1=self.betas[0],
                beta2=self.betas[1],
                weight_decay=decay,
                eps=EPS,
                amsgrad=False,
                maximize=False,
            )


def _step_sgd(_: Optimizer, params: Tensor, grads: Tensor, rate: Tensor, count: int) -> None:
    params.addcmul_(grads, rate, value=-1)


def _step_momentum(own: Optimizer, params: Tensor, grads: Tensor, rate: Tensor, count: int) -> None:
    velocity = own.slots["velocity"].mul_(own.momentum).add_(grads)
    params.addcmul_(velocity, rate, value=-1)


def _step_rmsprop(own: Optimizer, params: Tensor, grads: Tensor, rate: Tensor, count: int) -> None:
    square = own.slots["square"].mul_(RMS_ALPHA).addcmul_(grads, grads, value=1 - RMS_ALPHA)
    grads.div_(square.sqrt().add_(EPS))
    if own.has_momentum:
        grads = own.slots["velocity"].mul_(own.momentum).add_(grads)
    params.addcmul_(grads, rate, value=-1)


def _step_adam(own: Optimizer, params: Tensor, grads: Tensor, rate: Tensor, count: int) -> None:
    first, second = own.betas
    mean, square = own.slots["mean"], own.slots["square"]
    mean.lerp_(grads, 1 - first)
    square.mul_(second).addcmul_(grads, grads, value=1 - second)
    # The bias corrections go into epsilon and the rate: the same numbers as torch.optim with one pass less.
    correction = (1 - second**count) ** 0.5
    torch.sqrt(square, out=grads)
    torch.div(mean, grads.add_(EPS * correction), out=grads)
    params.addcmul_(grads, rate * (correction / (1 - first**count)), value=-1)


Rule = Callable[[Optimizer, Tensor, Tensor, Tensor, int], None]
RULES: dict[str, Rule] = {
    "sgd": _step_sgd,
    "momentum": _step_momentum,
    "rmsprop": _step_rmsprop,
    "adam": _step_adam,
    "adamw": _step_adam,
}


# Learning-rate schedules as tables: one factor per step and member.


def rate_factor(step: Tensor, total: int, schedule: str, warmup: int, final: float) -> Tensor:
    """Factor on the base rate at `step` (0-based): linear warm-up, then the schedule down to `final`."""
    after = ((step - warmup) / max(total - warmup, 1)).clamp(0, 1)
    if schedule == "cosine":
        value = final + (1 - final) * (1 + torch.cos(torch.pi * after)) / 2
    elif schedule == "linear":
        value = 1 - (1 - final) * after
    else:
        value = torch.ones_like(after)
    return torch.where(step < warmup, (step + 1) / max(warmup, 1), value)


def rate_table(members: Sequence[Member], totals: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Learning rates (steps, K), one column per member; float64 inside so that long tables stay exact."""
    step = torch.arange(max(totals, default=0), dtype=torch.float64)
    columns = [
        m.lr * rate_factor(step, total, m.schedule, m.warmup, m.final_lr)
        for m, total in zip(members, totals, strict=True)
    ]
    return torch.stack(columns, dim=1).to(dtype) if columns else torch.empty(0, 0, dtype=dtype)
