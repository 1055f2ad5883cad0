"""Rows of the donor written over the receiver's: which neurons matter for the new class, and how much of them is taken.

A row is all that a unit reads; it is copied with its bias to the same place in the receiver, and last the head rows of the
new classes. The published surgery methods differ in which rows they pick, so each is a class with its own `pick_rows`.
"""

from abc import abstractmethod
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from digsite.config import Config, Field
from digsite.graft.core.edits import copy_model, read_head_rows, set_rows
from digsite.graft.core.methods import GraftMethod
from digsite.graft.core.nets import find_head, list_layers
from digsite.graft.core.pair import Message, Side

Picks = dict[int, Int[Tensor, "rows"]]  # layer, counted from 0 at the input, -> row numbers


class _RowTransplant:
    """What all surgery shares: the budget of bare weights, the message of picked rows, and writing them in."""

    SAME_SHAPE = True
    settings: Any

    def declare_budget(self) -> str:
        """Weights alone."""
        return "w"

    @abstractmethod
    def pick_rows(self, donor: Side) -> Picks:
        """The rows to take, by layer; the head rows come along in any case."""

    def take_message(self, donor: Side) -> Message:
        """The picked rows with their addresses, and the head rows of the new classes."""
        return send_rows(donor, self.pick_rows(donor))

    def apply_message(self, receiver: Side, message: Message) -> nn.Module:
        """A copy of the receiver with the rows written in."""
        return implant_rows(receiver, message)


class DirectCopy(_RowTransplant, GraftMethod):
    """The donor's head row for the new class, copied as it is (legacy method 1)."""

    GROUP = "surgery"

    def pick_rows(self, donor: Side) -> Picks:
        """None below the head."""
        return {}


class Importance(_RowTransplant, GraftMethod):
    """The penultimate rows that the new class reads most, and its head row (legacy method 3)."""

    GROUP = "surgery"

    class Settings(Config):
        n_rows: int = Field(8, gt=0, description="penultimate rows to copy")
        n_first: int = Field(
            0, ge=0, description="rows of the first layer to copy as well, by weight into those rows"
        )

    def pick_rows(self, donor: Side) -> Picks:
        """The penultimate rows of largest weight into the new class; of the first layer those that feed them most."""
        n_rows, n_first = self.settings.n_rows, self.settings.n_first
        importance = rank_head_units(donor)
        top = len(list_layers(donor.model)) - 2
        picks = {top: importance.topk(min(n_rows, len(importance))).indices}
        if n_first and top > 0:
            picks[0] = pick_totals(donor.model, importance, [n_rows] * top + [n_first])[0]
        return picks


class Pathway(_RowTransplant, GraftMethod):
    """A whole path of rows from the new class down, a fixed number per layer (legacy method 5)."""

    GROUP = "surgery"

    class Settings(Config):
        n_top: int = Field(16, gt=0, description="penultimate rows; twice as many in each layer further down")

    def pick_rows(self, donor: Side) -> Picks:
        """`n_top` penultimate rows, and below each layer twice as many by summed weight into the rows above."""
        counts = [self.settings.n_top * 2**i for i in range(16)]  # more layers than any network here has
        return pick_totals(donor.model, rank_head_units(donor), counts)


class ActivationSelective(_RowTransplant, GraftMethod):
    """Rows whose mean activation on the new class exceeds that on the donor's other classes (legacy method 6)."""

    GROUP = "surgery"

    class Settings(Config):
        n_top: int = Field(20, gt=0, description="penultimate rows; twice as many in each layer further down")
        n_images: int = Field(
            500, gt=0, description="donor images of the new class, and as many of its other classes"
        )

    def declare_budget(self) -> str:
        """The donor's own images."""
        return "b"

    def pick_rows(self, donor: Side) -> Picks:
        """By the gap between mean activations; a map of a convolution counts with the mean over its places."""
        pair, n = donor.pair, self.settings.n_images
        new = donor.access.open_donor(pair.new, n)
        rest = donor.access.open_donor((*pair.shared, *pair.foreign), n)
        high, low = donor.collect_acts(new).hidden, donor.collect_acts(rest).hidden
        widths = [len(m.weight) for m in list_layers(donor.model).values()][:-1]
        picks = {}
        for layer, (on, off) in enumerate(zip(high, low)):
            gap = (on.mean(0) - off.mean(0)).reshape(widths[layer], -1).mean(1)
            count = self.settings.n_top * 2 ** (len(widths) - 1 - layer)
            picks[layer] = gap.topk(min(count, len(gap))).indices
        return picks


class Cascade(_RowTransplant, GraftMethod):
    """Cascade transplant: top rows for the new class and, for each row, the strongest few below it (legacy method 7)."""

    GROUP = "surgery"

    class Settings(Config):
        start: int = Field(24, gt=0, description="penultimate rows")
        fans: tuple[int, ...] = Field(
            (6, 4, 3), description="rows per row, layer by layer down; the last one repeats"
        )

    def pick_rows(self, donor: Side) -> Picks:
        """From the head down, a fan of rows below every row."""
        importance = rank_head_units(donor)
        return pick_cascade(donor.model, importance, self.settings.start, list(self.settings.fans))


class RandomTransplant(_RowTransplant, GraftMethod):
    """Null of the cascade: as many rows per layer, chosen at random."""

    GROUP = "null"

    class Settings(Config):
        start: int = Field(24, gt=0, description="penultimate rows")
        fans: tuple[int, ...] = Field((6, 4, 3), description="as in the cascade, whose sizes are matched")

    def pick_rows(self, donor: Side) -> Picks:
        """Random row numbers, as many as the cascade would take in each layer."""
        sizes = pick_cascade(
            donor.model, rank_head_units(donor), self.settings.start, list(self.settings.fans)
        )
        widths = [len(m.weight) for m in list_layers(donor.model).values()]
        draw = donor.make_generator("random-rows")
        return {k: torch.randperm(widths[k], generator=draw)[: len(v)] for k, v in sizes.items()}


class GradualBlend(_RowTransplant, GraftMethod):
    """Rows mixed into the receiver's in proportion to their importance, less and less further down (legacy method 4)."""

    GROUP = "surgery"

    class Settings(Config):
        ratio: float = Field(0.8, gt=0, le=1, description="donor's share in the penultimate layer")
        step: float = Field(0.2, ge=0, description="by how much the share falls with each layer down")
        n_middle: int = Field(
            32, gt=0, description="rows touched in each layer between the top two and the first"
        )
        n_first: int = Field(64, gt=0, description="rows touched in the first layer")

    def pick_rows(self, donor: Side) -> Picks:
        """All rows of the top two hidden layers, and a few of those below."""
        top = len(list_layers(donor.model)) - 2
        widths = [len(m.weight) for m in list_layers(donor.model).values()]
        middle = [widths[top - 1] if d == 1 else self.settings.n_middle for d in range(1, top)]
        counts = [widths[top], *middle, self.settings.n_first]
        return pick_totals(donor.model, rank_head_units(donor), counts)

    def take_message(self, donor: Side) -> Message:
        """The rows, and how important each of them is."""
        picks = self.pick_rows(donor)
        shares = rate_rows(donor.model, picks, rank_head_units(donor))
        details = {f"{layer}/share": share for layer, share in shares.items()}
        return Message({**send_rows(donor, picks).tensors, **details})

    def apply_message(self, receiver: Side, message: Message) -> nn.Module:
        """Rows blended by importance times a ratio that falls from the penultimate layer down."""
        top = len(list_layers(receiver.model)) - 2
        mix: dict[int, Tensor] = {}
        for key, share in message.tensors.items():
            if key.endswith("/share"):
                layer = int(key.split("/")[0])
                ratio = self.settings.ratio - self.settings.step * (top - layer)
                mix[layer] = share * max(ratio, self.settings.step)
        return implant_rows(receiver, message, mix)


def send_head_rows(donor: Side) -> Message:
    """The donor's head rows (new, width) and biases (new,) for the new classes."""
    weight, bias = read_head_rows(donor.model, donor.head, donor.new)
    return Message({"head/weight": weight, "head/bias": bias})


def rank_head_units(donor: Side) -> Float[Tensor, "width"]:
    """How strongly the new classes read each penultimate unit."""
    return find_head(donor.model, donor.head).weight.detach()[donor.new].abs().amax(0)


def sum_fan_in(layer: nn.Module, n_units: int) -> Float[Tensor, "rows units"]:
    """Absolute weight from each of `n_units` units (or maps) below into each row of `layer`.

    A flattened map feeds a linear layer with as many columns as it has places, so columns are summed in blocks.
    """
    w = layer.weight.detach().abs()  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
    assert w.shape[1] % n_units == 0, (tuple(w.shape), n_units)
    return w.reshape(len(w), n_units, -1).sum(-1)


def pick_below(
    model: nn.Module, layer: int, rows: Int[Tensor, "rows"], per_row: int | None, total: int | None = None
) -> Int[Tensor, "picked"]:
    """Rows of `layer - 1` that feed these `rows` of `layer` most: `per_row` for each, or `total` by summed weight."""
    chain = list(list_layers(model).values())
    fan = sum_fan_in(chain[layer], len(chain[layer - 1].weight))[rows]
    if per_row is not None:
        return fan.topk(min(per_row, fan.shape[1]), dim=1).indices.unique()
    return fan.sum(0).topk(min(total or 0, fan.shape[1])).indices


def pick_cascade(model: nn.Module, importance: Float[Tensor, "width"], start: int, fans: list[int]) -> Picks:
    """From the head down: the `start` most important penultimate rows, then for each row the strongest few below it.

    `fans`: how many below each row, layer by layer down; the last one repeats.
    """
    top = len(list_layers(model)) - 2
    picks: Picks = {top: importance.topk(min(start, len(importance))).indices}
    for step, layer in enumerate(range(top, 0, -1)):
        picks[layer - 1] = pick_below(model, layer, picks[layer], fans[min(step, len(fans) - 1)])
    return picks


def pick_totals(model: nn.Module, importance: Float[Tensor, "width"], counts: list[int]) -> Picks:
    """From the head down, a fixed number of rows per layer (`counts`, top first) by summed weight into the rows above."""
    top = len(list_layers(model)) - 2
    picks: Picks = {top: importance.topk(min(counts[0], len(importance))).indices}
    for step, layer in enumerate(range(top, 0, -1), start=1):
        picks[layer - 1] = pick_below(model, layer, picks[layer], None, counts[min(step, len(counts) - 1)])
    return picks


def send_rows(donor: Side, picks: Picks) -> Message:
    """The picked rows of the donor as "LAYER/weight" and "LAYER/bias", their addresses as "LAYER/rows", and the head rows."""
    chain = list(list_layers(donor.model).values())
    tensors = dict(send_head_rows(donor).tensors)
    for layer, rows in picks.items():
        tensors[f"{layer}/rows"] = rows
        tensors[f"{layer}/weight"] = chain[layer].weight.detach()[rows].clone()
        bias = chain[layer].bias
        if bias is not None:
            tensors[f"{layer}/bias"] = bias.detach()[rows].clone()
    return Message(tensors)


@torch.no_grad()
def implant_rows(
    receiver: Side, message: Message, mix: dict[int, Float[Tensor, "rows"]] | None = None
) -> nn.Module:
    """A copy of the receiver with the rows of `message` written in; `mix` gives the donor's share per row (default: all)."""
    model = copy_model(receiver.model)
    chain = list(list_layers(model).values())
    for layer in (int(k.split("/")[0]) for k in message.tensors if k.endswith("/rows")):
        rows, part = message.tensors[f"{layer}/rows"], message.select_under(f"{layer}/")
        share = torch.ones(len(rows)) if mix is None else mix[layer]
        weight = chain[layer].weight
        s = share.reshape(-1, *[1] * (weight.ndim - 1)).to(weight)
        weight[rows] = s * part["weight"] + (1 - s) * weight[rows]
        bias = chain[layer].bias
        if bias is not None and "bias" in part:
            bias[rows] = share.to(bias) * part["bias"] + (1 - share.to(bias)) * bias[rows]
    top = message.select_under("head/")
    return set_rows(model, receiver.head, receiver.new, top["weight"], top["bias"])


def rate_rows(
    model: nn.Module, picks: Picks, importance: Float[Tensor, "width"]
) -> dict[int, Float[Tensor, "rows"]]:
    """Importance of each picked row in (0, 1]: the head's weight on top, the weight into the picked rows above below."""
    chain, top = list(list_layers(model).values()), len(list_layers(model)) - 2
    out = {top: importance[picks[top]]}
    for layer in range(top, 0, -1):
        fan = sum_fan_in(chain[layer], len(chain[layer - 1].weight))[picks[layer]].sum(0)
        out[layer - 1] = fan[picks[layer - 1]]
    return {layer: v / v.max().clamp_min(1e-12) for layer, v in out.items()}
