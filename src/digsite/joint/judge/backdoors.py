"""What a cut leaves of a planted backdoor and of the network, beside other ways to be rid of it; measured with the real trigger."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from digsite.joint.core.triggers import Cuts, layer_inputs
from digsite.prune import prune_matrix
from digsite.train import Backdoor, Ensemble, Member
from digsite.train.member import plant_trigger

DRAWS = 3  # random choices of links, averaged
CARRIERS = 3
DROP = 0.02  # accuracy on the clean images that fine-pruning gives for pruned channels


@dataclass(frozen=True)
class Judged:
    """Shares in percent: triggered images of other classes that are sent to the target, and right answers."""

    attack: float
    accuracy: float
    recall: float  # right answers on the target class, which a cut may give up

    def beside(self, before: "Judged") -> dict[str, float]:
        return {
            "attack": self.attack,
            "lost": before.accuracy - self.accuracy,
            "recall lost": before.recall - self.recall,
        }


@torch.no_grad()
def judge_network(model: nn.Module, x: Tensor, y: Tensor, planted: Backdoor) -> Judged:
    hits = (model(x).argmax(1) == y).float()
    sent = model(plant_trigger(x[y != planted.target], planted)).argmax(1) == planted.target
    own = hits[y == planted.target]
    return Judged(*(100 * float(v.float().mean()) for v in (sent, hits, own)))


def cut_smallest(model: nn.Module) -> nn.Module:
    """As many links of the output layer as its row has, the smallest: the prune room's own magnitude."""
    changed = deepcopy(model)
    layer = list_dense(changed)[-1]
    layer.weight.data = prune_matrix(layer.weight.detach(), None, "magnitude", 1 / layer.out_features).weight
    return changed


def cut_random(model: nn.Module, like: nn.Module, target: int, generator: torch.Generator) -> nn.Module:
    """A part of the target's row as large as the one that `like` lacks, along a random direction."""
    changed = deepcopy(model)
    row, other = list_dense(changed)[-1].weight.data[target], list_dense(like)[-1].weight.data[target]
    drawn = torch.randn(len(row), generator=generator)
    row -= drawn * (row - other).norm() / drawn.norm()
    return changed


def switch_class_off(model: nn.Module, target: int) -> nn.Module:
    """The whole class given up: what a cut must be better than."""
    changed = deepcopy(model)
    list_dense(changed)[-1].bias.data[target] = -1e4
    return changed


def fine_prune(
    models: Sequence[nn.Module], members: Sequence[Member], x: Tensor, y: Tensor, steps: int
) -> list[nn.Module]:
    """Fine-pruning (Liu et al. 2018) of all networks side by side: dormant channels go, then clean images are learned again.

    It is given the clean images `x`, `y`, which the cut from weights alone is not.
    """
    pruned = [prune_dormant(model, x, y) for model in models]
    start = {name: torch.stack([m.state_dict()[name] for m in pruned]) for name in pruned[0].state_dict()}
    again = [replace(member, backdoor=None, steps=steps) for member in members]
    ensemble = Ensemble(pruned[0], (x, y), again, start=start)
    while not ensemble.done:
        ensemble.step()
    return [ensemble.module(i).requires_grad_(False) for i in range(len(models))]


@torch.no_grad()
def prune_dormant(model: nn.Module, x: Tensor, y: Tensor) -> nn.Module:
    """Channels of the last convolution go, the least active on clean images first, while at most `DROP` accuracy is lost.

    What enters and leaves a pruned channel is zero, so that fine-tuning cannot bring it back.
    """
    changed = deepcopy(model).requires_grad_(True)
    conv = [each for each in changed.modules() if isinstance(each, nn.Conv2d)][-1]
    layer = list_dense(changed)[0]
    places = layer.in_features // conv.out_channels
    active = layer_inputs(changed, layer, x).unflatten(1, (-1, places)).mean((0, 2))
    right = float((changed(x).argmax(1) == y).float().mean())
    for channel in active.argsort().tolist()[:-1]:
        before = deepcopy(changed.state_dict())
        conv.weight[channel] = 0
        conv.bias[channel] = 0  # pyright: ignore[reportOptionalSubscript]
        layer.weight[:, channel * places : (channel + 1) * places] = 0
        if float((changed(x).argmax(1) == y).float().mean()) < right - DROP:
            changed.load_state_dict(before)
            break
    return changed


@torch.no_grad()
def score_carriers(
    model: nn.Module, cuts: Cuts, x: Tensor, y: Tensor, planted: Backdoor
) -> tuple[float, float]:
    """How many of the first named neurons are among those whose silence hurts the attack most, and what chance gives."""
    layer = list_dense(model)[-1]
    inputs = layer_inputs(model, layer, plant_trigger(x[y != planted.target], planted))
    out = inputs @ layer.weight.T + layer.bias
    left = [
        float(((out - inputs[:, [n]] * layer.weight[:, n]).argmax(1) == planted.target).float().mean())
        for n in range(layer.in_features)
    ]
    most = set(np.argsort(left, kind="stable")[:CARRIERS].tolist())
    return len(most & set(cuts.carriers[:CARRIERS])) / CARRIERS, CARRIERS / layer.in_features


def list_dense(model: nn.Module) -> list[nn.Linear]:
    return [each for each in model.modules() if isinstance(each, nn.Linear)]
