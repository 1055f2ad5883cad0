"""A group: members of one shape and batch size that take their steps as one matrix, and the optimizer of its rows.

The optimizer is the math of torch.optim on (K, P) matrices, with learning rate, decay and momentum of each row its own.
Written by hand because torch.optim takes one learning rate per parameter group: that would be a call per member.
Wide rows of Adam are the exception: there the call costs nothing, and torch's kernel reads each number once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from digsite.base.streams import derive_seed
from digsite.train.engines import Engine
from digsite.train.feeds import Feed
from digsite.train.member import Member

BLOCK_BITS = 1 << 16  # draws per generator: making a generator costs more than a few thousand draws


class MaskedDropout(nn.Module):
    """Multiplies by the buffer `mask`; with mask 1 (the stored value) it is the identity."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """`mask` has the shape of x, or is one: then nothing is dropped."""
        return x * self.mask


def replace_dropout(model: nn.Module) -> dict[str, float]:
    """Swap every nn.Dropout for a MaskedDropout; returns the rates by module name."""
    rates = {name: module.p for name, module in model.named_modules() if isinstance(module, nn.Dropout)}
    for name in rates:
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, MaskedDropout())
    return rates


def mask_shapes(model: nn.Module, x: Tensor) -> dict[str, tuple[int, ...]]:
    """What each MaskedDropout receives for the batch `x`, by module name, the batch axis included."""
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> object:
        return lambda _module, inputs: shapes.__setitem__(name, tuple(inputs[0].shape))

    named = [(name, module) for name, module in model.named_modules() if isinstance(module, MaskedDropout)]
    handles = [module.register_forward_pre_hook(note(name)) for name, module in named]  # type: ignore[arg-type]
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return shapes


class Masks:
    """Dropout masks (K, batch, ...) of a group by layer, drawn in blocks of steps from 16-bit thresholds."""

    def __init__(self, members: Sequence[Member], rates: dict[str, float], like: Tensor) -> None:
        self.members, self.like = members, like
        self.rates = {
            name: [rate if m.dropout is None else m.dropout for m in members] for name, rate in rates.items()
        }
        # A layer's stream is its place in the model, whatever the others of the group do with it.
        self.place = {name: index for index, name in enumerate(rates)}
        self.rates = {name: values for name, values in self.rates.items() if any(values)}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._blocks: dict[str, tuple[int, list[np.ndarray | None]]] = {}

    def __bool__(self) -> bool:
        return bool(self.rates)

    def at(self, step: int, active: int) -> dict[str, Tensor]:
        """Masks of `step` by buffer name; members without dropout get ones."""
        return {f"{name}.mask": self._mask_layer(name, step, active) for name in self.rates}

    def _mask_layer(self, name: str, step: int, active: int) -> Tensor:
        """(active, *shape): zero where dropped, 1 / (1 - rate) elsewhere, the rate rounded to a 65,536th."""
        shape = self.shapes[name]
        count = prod(shape)
        span = max(1, min(16, BLOCK_BITS // count))
        block, offset = divmod(step, span)
        if self._blocks.get(name, (-1,))[0] != block:
            self._blocks[name] = (block, self._draw_block(name, block, span * count))
        out = np.ones((active, count), np.float32)
        for row, bits, rate in zip(out, self._blocks[name][1][:active], self.rates[name], strict=False):
            if bits is not None:
                threshold = round(rate * 65536)
                keep = bits[offset * count : (offset + 1) * count] >= threshold
                np.multiply(keep, np.float32(65536 / (65536 - threshold)), out=row)
        return torch.from_numpy(out.reshape(active, *shape)).to(self.like)

    def _draw_block(self, name: str, block: int, count: int) -> list[np.ndarray | None]:
        """16 random bits per value and step for each member with dropout, from a stream addressed by member,
        layer and block.
        """

        def bits(member: Member) -> np.ndarray:
            source = np.random.SFC64(derive_seed(member.seed, "dropout", self.place[name], block))
            return np.asarray(source.random_raw(-(-count // 4))).view(np.uint16)

        return [bits(m) if rate else None for m, rate in zip(self.members, self.rates[name], strict=True)]


EPS = 1e-8
RMS_ALPHA = 0.99
# Numbers in a row from which a kernel call per row beats five passes over all rows (measured: 1.4x here, 2x from 50,000).
# A matter of the row alone, so that a member trains the same whoever it is stacked with.
WIDE = 20_000


@dataclass(frozen=True)
class Rule:
    """What sets one optimizer apart. `slots`: running averages, each as large as the parameters; `with_momentum`: those
    that only momentum needs; `usual_momentum`: where a member names none; `decoupled`: decay shrinks the weights and is
    no part of the gradient; `row_kernel`: the library's own update of one row, where it has one."""

    step: "Callable[[Optimizer, Tensor, Tensor, Tensor, int], None]"
    slots: tuple[str, ...] = ()
    with_momentum: tuple[str, ...] = ()
    usual_momentum: float = 0.0
    decoupled: bool = False
    row_kernel: Callable[..., None] | None = None


@dataclass
class Optimizer:
    """State and hyperparameters of the rows of one group; rows are updated in place."""

    rule: Rule
    decay: Tensor
    momentum: Tensor
    betas: tuple[float, float]
    slots: dict[str, Tensor] = field(default_factory=dict)
    has_decay: bool = False
    has_momentum: bool = False

    @classmethod
    def of(cls, members: Sequence[Member], like: Tensor) -> "Optimizer":
        """`like` is the (K, P) parameter matrix; the members share optimizer and betas."""
        rule = RULES[members[0].optimizer]
        momentum = [rule.usual_momentum if m.momentum is None else m.momentum for m in members]
        decay = [m.weight_decay for m in members]
        column = {"dtype": like.dtype, "device": like.device}
        made = cls(
            rule,
            torch.tensor(decay, **column)[:, None],
            torch.tensor(momentum, **column)[:, None],
            members[0].betas,
            has_decay=any(decay),
            has_momentum=any(momentum),
        )
        names = (*rule.slots, *(rule.with_momentum if made.has_momentum else ()))
        made.slots = {name: torch.zeros_like(like) for name in names}
        return made

    def step(self, params: Tensor, grads: Tensor, rate: Tensor, count: int) -> None:
        """One update of all rows; `rate` is (K,), `count` is 1 at the first; `grads` is used as scratch."""
        if self.rule.row_kernel is not None and params.shape[1] >= WIDE:
            return self._step_rows(self.rule.row_kernel, params, grads, rate, count)
        rate = rate[:, None]
        if self.has_decay and self.rule.decoupled:
            params.mul_(1 - rate * self.decay)
        elif self.has_decay:
            grads.addcmul_(params, self.decay)
        self.rule.step(self, params, grads, rate, count)

    def _step_rows(
        self, kernel: Callable[..., None], params: Tensor, grads: Tensor, rate: Tensor, count: int
    ) -> None:
        """One kernel call per row, which reads every number once instead of five times."""
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
    """p -= rate * g."""
    params.addcmul_(grads, rate, value=-1)


def _step_momentum(own: Optimizer, params: Tensor, grads: Tensor, rate: Tensor, count: int) -> None:
    """v = m v + g, p -= rate * v: torch's form, without dampening and with the rate outside of the average."""
    velocity = own.slots["velocity"].mul_(own.momentum).add_(grads)
    params.addcmul_(velocity, rate, value=-1)


def _step_rmsprop(own: Optimizer, params: Tensor, grads: Tensor, rate: Tensor, count: int) -> None:
    """s = a s + (1 - a) g^2, p -= rate * g / (sqrt(s) + eps); with momentum the scaled gradient is averaged,
    not the raw one.
    """
    square = own.slots["square"].mul_(RMS_ALPHA).addcmul_(grads, grads, value=1 - RMS_ALPHA)
    grads.div_(square.sqrt().add_(EPS))
    if own.has_momentum:
        grads = own.slots["velocity"].mul_(own.momentum).add_(grads)
    params.addcmul_(grads, rate, value=-1)


def _step_adam(own: Optimizer, params: Tensor, grads: Tensor, rate: Tensor, count: int) -> None:
    """Adam with bias-corrected moments (arXiv 1412.6980); decoupled decay was done before for adamw."""
    first, second = own.betas
    mean, square = own.slots["mean"], own.slots["square"]
    mean.lerp_(grads, 1 - first)
    square.mul_(second).addcmul_(grads, grads, value=1 - second)
    # The bias corrections go into epsilon and the rate: the same numbers as torch.optim with one pass less.
    correction = (1 - second**count) ** 0.5
    torch.sqrt(square, out=grads)
    torch.div(mean, grads.add_(EPS * correction), out=grads)
    params.addcmul_(grads, rate * (correction / (1 - first**count)), value=-1)


RULES = {
    "sgd": Rule(_step_sgd),
    "momentum": Rule(_step_momentum, ("velocity",), usual_momentum=0.9),
    "rmsprop": Rule(_step_rmsprop, ("square",), with_momentum=("velocity",)),
    "adam": Rule(_step_adam, ("mean", "square"), row_kernel=torch._fused_adam_),
    "adamw": Rule(_step_adam, ("mean", "square"), decoupled=True, row_kernel=torch._fused_adamw_),
}


# Learning-rate schedules as tables: one factor per step and member.


def rate_factor(step: Tensor, total: int, schedule: str, warmup: int, final: float) -> Tensor:
    """Factor on the base rate at `step` (0-based): linear warm-up, then the schedule down to `final`.

    `step` is a vector of step numbers, `total` the member's length, `warmup` its first steps, `final` the
    factor at the end.
    """
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


NEVER = -1


class Group:
    """Rows are sorted by their number of steps, so that those still training are always the first ones.

    Within that order, neighbours with one kind of optimizer are updated together.

    `flat` (K, P) and `buffers` (K, ...) are owned by the group and changed in place.
    """

    def __init__(
        self,
        members: Sequence[Member],
        totals: Sequence[int],
        flat: Tensor,
        buffers: Mapping[str, Tensor],
        engine: Engine,
        feed: Feed,
        masks: Masks,
    ) -> None:
        assert list(totals) == sorted(totals, reverse=True), totals
        self.members, self.totals, self.flat, self.buffers = members, totals, flat, dict(buffers)
        self.engine, self.feed, self.masks = engine, feed, masks
        self.spans = _find_spans(members, totals)
        self.optimizers = [Optimizer.of(members[first:end], flat[first:end]) for first, end in self.spans]
        self.rates = rate_table(members, totals, flat.dtype).to(flat.device)
        self.grads = torch.zeros_like(flat)
        self.losses = torch.full((len(members),), torch.nan, dtype=flat.dtype, device=flat.device)
        self.diverged_at = torch.full((len(members),), NEVER)
        self.count = 0

    @property
    def done(self) -> bool:
        """Whether the longest training of the group is over."""
        return self.count >= self.totals[0]

    @property
    def active(self) -> int:
        """How many rows still train."""
        return sum(total > self.count for total in self.totals)

    def outputs(self, x: Tensor, shared: bool, flat: Tensor | None = None) -> Tensor:
        """Outputs (K, n, ...) in evaluation mode, of these rows or of others of the same members."""
        if self.engine.model.training:
            self.engine.model.eval()
        return self.engine.outputs(self.flat if flat is None else flat, self.buffers, x, shared)

    def step(self) -> None:
        """One step of every row that is not finished; rows that have diverged stay where they are."""
        if not self.engine.model.training:
            self.engine.model.train()
        n, step = self.active, self.count
        params, grads = self.flat[:n], self.grads[:n]
        batch = self.feed.batch(step, n)
        buffers = {name: value[:n] for name, value in self.buffers.items()}
        losses = self.engine.gradients(params, buffers, batch, self.masks.at(step, n), grads)
        # The sum of a row of gradients is finite only if all of it is: one cheap pass instead of a mask.
        self._mark_diverged(~torch.isfinite(losses + grads.sum(1)), step)
        dead = (self.diverged_at[:n] != NEVER).nonzero().flatten().to(params.device)
        kept = params[dead] if len(dead) else None
        for (first, end), optimizer in zip(self.spans, self.optimizers, strict=True):
            if end <= n:
                optimizer.step(params[first:end], grads[first:end], self.rates[step, first:end], step + 1)
        if kept is not None:
            params[dead] = kept
        self.losses[:n] = losses
        self.count += 1

    def _mark_diverged(self, bad: Tensor, step: int) -> None:
        """The first step at which a row was not finite; later ones do not change it."""
        if bad.any():
            fresh = bad.cpu() & (self.diverged_at[: len(bad)] == NEVER)
            self.diverged_at[: len(bad)][fresh] = step

    def state(self) -> dict[str, Tensor]:
        """Everything a resumed run needs; random streams need nothing."""
        slots = {
            f"slot.{i}.{name}": v for i, own in enumerate(self.optimizers) for name, v in own.slots.items()
        }
        buffers = {f"buffer.{name}": value for name, value in self.buffers.items()}
        own = {"flat": self.flat, "losses": self.losses, "diverged_at": self.diverged_at}
        return {**own, **slots, **buffers, "count": torch.tensor(self.count)}

    def slots_of(self, row: int) -> dict[str, Tensor]:
        """What the optimizer remembers of one member, a (P,) vector each: Adam's mean and square, or a velocity."""
        for (first, end), own in zip(self.spans, self.optimizers, strict=True):
            if first <= row < end:
                return {name: value[row - first] for name, value in own.slots.items()}
        raise IndexError(row)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Into the tensors that are there, so that views of them stay valid."""
        for name, value in self.state().items():
            if name != "count":
                value.copy_(state[name])
        self.count = int(state["count"])


def same_update(member: Member, total: int) -> tuple[int, str, tuple[float, float]]:
    """Members that agree in this are updated by one call."""
    return -total, member.optimizer, member.betas


def _find_spans(members: Sequence[Member], totals: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of neighbours that are updated by one call."""
    keys = [same_update(member, total) for member, total in zip(members, totals, strict=True)]
    starts = [at for at, key in enumerate(keys) if at == 0 or key != keys[at - 1]]
    return list(zip(starts, [*starts[1:], len(keys)], strict=True))
