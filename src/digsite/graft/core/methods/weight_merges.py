"""Two weight sets made into one: averaged as they are, summed as changes of a common start, or after re-basin."""

from dataclasses import replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.config import Config, Field
from digsite.graft.core.edits import copy_model, read_head_rows, set_rows
from digsite.graft.core.maps import Orders, match_by_activations, match_by_weights, permute_units
from digsite.graft.core.merges import State
from digsite.graft.core.merges.averages import merge_by_ties, sum_changes
from digsite.graft.core.methods import GraftMethod
from digsite.graft.core.methods.transplants import implant_rows, pick_cascade, rank_head_units, send_rows
from digsite.graft.core.nets import collect_acts, is_plain, list_layers, read_matrices, shape_images
from digsite.graft.core.operate import rebuild_donor, send_whole_donor
from digsite.graft.core.pair import Message, Side


class _WholeDonor:
    """What crosses is the donor with all its weights, between networks of one shape."""

    SAME_SHAPE = True
    settings: Any

    def declare_budget(self) -> str:
        """Weights alone."""
        return "w"

    def take_message(self, donor: Side) -> Message:
        """All weights of the donor."""
        return send_whole_donor(donor)


class Average(_WholeDonor, GraftMethod):
    """All weights of both networks averaged, as they are."""

    GROUP = "honest"

    class Settings(Config):
        share: float = Field(0.5, ge=0, le=1, description="the donor's share")

    def apply_message(self, receiver: Side, message: Message) -> nn.Module:
        """A copy of the receiver between both weight sets."""
        model = copy_model(receiver.model)
        theirs = dict(zip(model.state_dict(), message.tensors.values()))  # same shapes, the names may differ
        model.load_state_dict(mix_states(dict(model.state_dict()), theirs, self.settings.share))
        return model


class _TunedFromStart(_WholeDonor):
    """What merges of two fine-tunings of one common start share."""

    NEEDS_START = True

    def merge_changes(self, start: State, tuned: list[State]) -> State:
        """The weights that come of the `start` and both fine-tunings of it."""
        raise NotImplementedError

    def apply_message(self, receiver: Side, message: Message) -> nn.Module:
        """A copy of the receiver with the merged weights."""
        assert receiver.pair.start is not None, "no pair without a start is let through"
        start = dict(receiver.pair.start.state_dict())
        model = copy_model(receiver.model)
        theirs = dict(zip(start, message.tensors.values()))
        model.load_state_dict(self.merge_changes(start, [dict(model.state_dict()), theirs]))
        return model


class TaskArithmetic(_TunedFromStart, GraftMethod):
    """What both fine-tunings changed, summed onto their common start."""

    GROUP = "honest"
    STUDIED = ("scale=0.3", "scale=1.0")

    class Settings(Config):
        scale: float = Field(0.3, gt=0, description="factor on the summed changes")

    def merge_changes(self, start: State, tuned: list[State]) -> State:
        """The start plus the scaled sum of changes."""
        return sum_changes(start, tuned, self.settings.scale)


class Ties(_TunedFromStart, GraftMethod):
    """TIES: both changes trimmed, one sign elected per weight, those that agree averaged onto the common start."""

    GROUP = "honest"

    class Settings(Config):
        keep: float = Field(0.2, gt=0, le=1, description="share of each change that is kept")
        scale: float = Field(1.0, gt=0, description="factor on the merged change")

    def merge_changes(self, start: State, tuned: list[State]) -> State:
        """The start plus the mean of the large changes that agree in sign."""
        return merge_by_ties(start, tuned, self.settings.keep, self.settings.scale)


class Rebasin(GraftMethod):
    """The donor's units first brought into the receiver's order, then its row, its cascade or an average taken."""

    SAME_SHAPE = True
    GROUP = "honest"
    STUDIED = (
        "match=weights take=row",
        "match=acts data=s take=row",
        "match=acts data=a take=cascade",
        "match=acts data=s take=average",
        "match=acts data=s take=average repair=true",
    )

    class Settings(Config):
        match: Literal["weights", "acts"] = Field("weights", description="what pairs the units")
        data: str = Field(
            "", pattern="^[sau]*$", description="images for matching by activations and for REPAIR"
        )
        take: Literal["row", "cascade", "average"] = Field(
            "row", description="what is then taken from the donor"
        )
        repair: bool = Field(
            False, description="rescale units to their parents' statistics (with take=average)"
        )
        n_images: int = Field(2000, gt=0, description="at most so many images of each kind")

    def declare_budget(self) -> str:
        """The images of the matching and of REPAIR; weights alone where units are paired by weights."""
        if (self.settings.match == "acts" or self.settings.repair) and not self.settings.data:
            raise UsageError(
                "Matching by activations and REPAIR need images.", hint="Say which: data=s, a or u."
            )
        return self.settings.data or "w"

    def take_message(self, donor: Side) -> Message:
        """All weights of the donor."""
        return send_whole_donor(donor)

    def apply_message(self, receiver: Side, message: Message) -> nn.Module:
        """The receiver with a row or a cascade of the reordered donor, or the average of both."""
        options = self.settings
        if not is_plain(receiver.model):
            raise UsageError("'rebasin' needs plain ReLU networks.", hint="Use distill or ridge_all.")
        donor = rebuild_donor(receiver, message)
        x = receiver.access.open_mixed(options.data, options.n_images).x if options.data else None
        orders = self.match_units(receiver, donor, x)
        ordered = write_matrices(donor, *permute_units(*read_matrices(donor), orders))
        if options.take == "average":
            return _average_repaired(receiver, ordered, x if options.repair else None)
        name = receiver.pair.name_heads()[1]
        if options.take == "cascade":
            side = replace(receiver, model=ordered, head=name)
            picks = pick_cascade(ordered, rank_head_units(side), 24, [6, 4, 3])
            return implant_rows(receiver, send_rows(side, picks))
        top = read_head_rows(ordered, name, receiver.new)
        return set_rows(receiver.model, receiver.head, receiver.new, *top)

    def match_units(self, receiver: Side, donor: nn.Module, x: Float[Tensor, "n ..."] | None) -> Orders:
        """For every hidden layer, the donor's unit that belongs at each place of the receiver."""
        if self.settings.match == "weights":
            receiver_side, theirs = read_matrices(receiver.model)[0], read_matrices(donor)[0]
            return match_by_weights(receiver_side, theirs, draw=receiver.make_generator("rebasin"))
        assert x is not None, "the budget was declared with images"
        receiver_side = collect_acts(receiver.model, x, receiver.head).hidden
        return match_by_activations(receiver_side, collect_acts(donor, x).hidden)


def _average_repaired(receiver: Side, ordered: nn.Module, x: Tensor | None) -> nn.Module:
    """The receiver halfway to the reordered donor; with images `x` its units are then repaired."""
    model = copy_model(receiver.model)
    model.load_state_dict(mix_states(dict(model.state_dict()), dict(ordered.state_dict()), 0.5))
    return model if x is None else repair_units(model, x, receiver.model, ordered, 0.5)


def write_matrices(
    model: nn.Module, weights: list[Float[Tensor, "_ _"]], biases: list[Float[Tensor, "_"]]
) -> nn.Module:
    """A copy of the model with these matrices, in the order of its layers; what has no bias gets none."""
    copy = copy_model(model)
    for layer, w, b in zip(list_layers(copy).values(), weights, biases):
        layer.weight.data.copy_(w)
        if layer.bias is not None:
            layer.bias.data.copy_(b)
    return copy


def mix_states(a: State, b: State, share: float) -> State:
    """(1 - share) a + share b, weight by weight; counters and other whole numbers stay those of `a`."""
    return {k: torch.lerp(v, b[k].to(v), share) if v.is_floating_point() else v for k, v in a.items()}


@torch.no_grad()
def repair_units(
    model: nn.Module, x: Float[Tensor, "n ..."], a: nn.Module, b: nn.Module, share: float
) -> nn.Module:
    """REPAIR: every hidden unit rescaled to the mean and spread that the two parents have there.

    `x`: images that the statistics are taken on. `a`, `b`: the parents, `share` of the second counting. Averaged units
    vary less than their parents' do, and the layers above read them as nearly constant (Jordan et al. 2022).
    """
    model = copy_model(model)
    for name in list(list_layers(model))[:-1]:
        goal = [_measure_moments(parent, name, x) for parent in (a, b)]
        mean = torch.lerp(goal[0][0], goal[1][0], share)
        std = torch.lerp(goal[0][1], goal[1][1], share)
        now_mean, now_std = _measure_moments(model, name, x)
        layer = list_layers(model)[name]
        factor = std / now_std.clamp_min(1e-6)
        layer.weight.mul_(factor.reshape(-1, *[1] * (layer.weight.ndim - 1)))
        assert layer.bias is not None
        layer.bias.copy_((layer.bias - now_mean) * factor + mean)
    return model


def _measure_moments(
    model: nn.Module, name: str, x: Float[Tensor, "n ..."]
) -> tuple[Float[Tensor, "units"], Float[Tensor, "units"]]:
    """Mean and spread of each unit's pre-activation in the layer `name`."""
    kept: list[Tensor] = []

    def keep_output(_module: nn.Module, _inputs: Any, out: Tensor) -> None:
        kept.append(out)

    handle = list_layers(model)[name].register_forward_hook(keep_output)
    model(shape_images(model, x))
    handle.remove()
    out = kept[0].transpose(0, 1).flatten(1)
    return out.mean(1), out.std(1)
