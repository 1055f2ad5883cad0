"""Does a reader answer the same about two networks that compute the same? First that they do, then whether it does."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from digsite.base.contract import public_method
from digsite.base.streams import derive_seed
from digsite.read.core.population import NetworkGroup, Population, stack_models
from digsite.read.core.readers.probe import image_shape, run_group
from digsite.read.core.symmetries import SYMMETRIES, change_group
from digsite.read.core.tasks import ReadTask

TOLERANCE = {"permutation": 1e-5, "sign": 1e-5}
_OTHERWISE = 1e-4
_SAME_FUNCTION = 1e-3  # relative to the logits' size, in float32


class AnsweringReader(Protocol):
    """What is asked of a reader here: its tasks, and bare answers by task."""

    @property
    def tasks(self) -> tuple[ReadTask, ...]: ...
    def answers(self, models: Any) -> Mapping[str, np.ndarray]: ...


@public_method(holes=("*",))
def check_invariance(reader: AnsweringReader, model: Any, seed: int = 0) -> pd.DataFrame:
    """One row per symmetry: did it apply, how far the function moved, how far the answers moved; NaN where it did not.

    Tasks about the recipe ask how the weights lie, so only tasks about the function are held to the tolerance.
    `seed` draws the permutations, scales and bases.

    `reader` answers, `model` is the network whose weights are changed.
    """
    people = model if isinstance(model, Population) else stack_models([model])
    group = people.groups[0].take(np.arange(len(people.groups[0])) == 0, np.array([0]))
    before = reader.answers(Population([group], 1))
    rows = []
    for name, symmetry in SYMMETRIES.items():
        tensors = symmetry(group, np.random.default_rng(derive_seed(seed, name)))
        if tensors is None:
            rows.append({"symmetry": name, "applies": False, "verdict": "not in this network"})
            continue
        other = change_group(group, tensors)
        after = reader.answers(Population([other], 1))
        moved = function_change(group, other, seed)
        rows.append(
            {"symmetry": name, "applies": True, "function_change": moved}
            | _judge_symmetry(reader, name, before, after, moved)
        )
    return pd.DataFrame(rows)


def _judge_symmetry(
    reader: AnsweringReader,
    name: str,
    before: Mapping[str, np.ndarray],
    after: Mapping[str, np.ndarray],
    moved: float,
) -> dict[str, Any]:
    change = {"function": 0.0, "recipe": 0.0}
    for task in reader.tasks:
        difference = float(np.abs(np.asarray(before[task.name]) - np.asarray(after[task.name])).max())
        change[task.about] = max(change[task.about], difference)
    tolerance = TOLERANCE.get(name, _OTHERWISE)
    if np.isfinite(moved) and moved > _SAME_FUNCTION:
        verdict = "the function changed: no symmetry of this network"
    else:
        verdict = "holds" if change["function"] < tolerance else "answers moved"
    return {
        "function_tasks": change["function"],
        "recipe_tasks": change["recipe"],
        "tolerance": tolerance,
        "verdict": verdict,
    }


@torch.no_grad()
def function_change(first: NetworkGroup, second: NetworkGroup, seed: int) -> float:
    """Largest difference of outputs on random inputs over their spread; NaN where the network cannot be run."""
    if first.skeleton is None:
        return float("nan")
    inputs = random_inputs(first, seed)
    a, b = run_group(first, inputs), run_group(second, inputs)
    return float((a - b).abs().max() / a.std().clamp_min(1e-9))


def random_inputs(group: NetworkGroup, seed: int, count: int = 32) -> Tensor:
    """Inputs of the kind that a group's module takes: tokens, features, images, or squares as large as its first layer."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "inputs"))
    config = getattr(group.skeleton, "config", None)
    vocabulary = getattr(config, "vocab", 0) or next(
        (n.size for n in group.graph.nodes if n.name == "tokens"), 0
    )
    image = getattr(config, "image", None)
    if isinstance(group.skeleton, torch.nn.Module) and _takes_tokens(group.skeleton):
        return torch.randint(vocabulary, (count, 8), generator=generator)
    if getattr(config, "n_features", 0):
        return torch.rand(count, config.n_features, generator=generator)  # pyright: ignore[reportOptionalMemberAccess]
    if image is not None:
        return torch.rand(count, *image, generator=generator)
    return torch.rand(count, *image_shape(group), generator=generator)


def _takes_tokens(module: torch.nn.Module) -> bool:
    return any(isinstance(m, torch.nn.Embedding) for m in module.modules())
