"""What a network answers to learned inputs: the network is run, on synthetic images that no data set holds."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from digsite.base.errors import UsageError
from digsite.read.core.population import Columns, NetworkGroup, Population

INVARIANT = ("permutation", "scale", "sign")  # whatever leaves the function alone leaves its answers alone
RUNS_NETWORK = True
N_PROBES = 24
STEPS, BATCH = 250, 64
State = dict[str, "Probes"]


@dataclass(frozen=True)
class Probes:
    """Learned inputs; they belong to no data set."""

    inputs: Tensor  # (probes, channels, height, width) in [0, 1]

    def tensors(self) -> dict[str, Tensor]:
        """For the reader's file."""
        return {"inputs": self.inputs}


STATE = Probes


def run_group(group: NetworkGroup, inputs: Tensor, rows: Tensor | None = None) -> Tensor:
    """Logits (members, inputs, outputs) of stacked networks."""
    if group.skeleton is None:
        raise UsageError(
            "these weights come without code, so the network cannot be run on probes.",
            hint="Use a reader of weights (nwpa, neurons, consensus), or give a module with py:module:factory.",
        )
    names = dict(group.skeleton.named_parameters()) | dict(group.skeleton.named_buffers())
    tensors = {k: t if rows is None else t[rows] for k, t in group.stored.items() if k in names}

    def one(weights: dict[str, Tensor]) -> Tensor:
        return functional_call(group.skeleton, weights, (inputs,))  # pyright: ignore[reportArgumentType]

    with _evaluating(group.skeleton):
        if len(next(iter(tensors.values()))) == 1:
            return one({k: t[0] for k, t in tensors.items()})[None]
        return vmap(one, randomness="different")(tensors)


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Somebody's module may be in training: dropout would answer by chance, and running statistics would move."""
    in_training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in in_training:
            part.training = True


def image_shape(group: NetworkGroup) -> tuple[int, ...]:
    """The inputs' shape (channels, height, width): as a module says, else a square from the size of its first layer.

    Somebody's plain chain that begins with a linear layer takes rows: then it is the number of their entries alone.
    """
    config = getattr(group.skeleton, "config", None)
    if getattr(config, "vocab", 0):
        raise UsageError("this network reads tokens: it cannot be run on images.")
    if image := getattr(config, "image", None):
        return tuple(image)
    graph = group.graph
    size = next((n.size for n in graph.nodes if n.is_input), 1)
    if graph.blocks_of("conv"):
        return (size, 28, 28) if size == 1 else (size, 32, 32)
    if any(n.activation == "gated" for n in graph.nodes):  # a recurrent network reads an image row by row
        return (1, size, size)
    if isinstance(group.skeleton, nn.Sequential) and isinstance(
        next(group.skeleton.children(), None), nn.Linear
    ):
        return (size,)
    return square_of(size)


def square_of(size: int) -> tuple[int, int, int]:
    """The image (1, side, side) of so many pixels; one row of them where they make no square."""
    side = math.isqrt(size)
    return (1, side, side) if side * side == size else (1, 1, size)


def fit_probe(population: Population, quality: np.ndarray, in_canonical_form: bool = True) -> State:
    """Learn the inputs whose answers best tell the quality of the training networks."""
    shape = image_shape(population.groups[0])
    generator = torch.Generator().manual_seed(0)
    logits = nn.Parameter(torch.randn(N_PROBES, *shape, generator=generator) * 2 - 1)
    y = torch.from_numpy(np.asarray(quality, dtype=np.float32))
    y = (y - y.mean()) / y.std().clamp_min(1e-6)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        n_outputs = run_group(population.groups[0], torch.sigmoid(logits.detach()), torch.tensor([0])).shape[
            2
        ]
        head = nn.Sequential(
            nn.Linear(N_PROBES * n_outputs, 64), nn.GELU(), nn.Dropout(0.2), nn.Linear(64, 1)
        )
    # Not by the trainer: the inputs of other networks are learned together with the head that reads their answers.
    optimizer = torch.optim.Adam(
        [{"params": head.parameters(), "lr": 3e-3}, {"params": [logits], "lr": 0.05}]
    )
    weight = np.array([len(g) for g in population.groups], dtype=float)
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        group = population.groups[int(rng.choice(len(weight), p=weight / weight.sum()))]
        rows = torch.from_numpy(rng.choice(len(group), min(BATCH, len(group)), replace=False))
        answers = _log_answers(run_group(group, torch.sigmoid(logits), rows))
        at = torch.from_numpy(group.rows)[rows]
        loss = nn.functional.huber_loss(head(answers.flatten(1))[:, 0], y[at])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {"all": Probes(torch.sigmoid(logits.detach()))}


def _log_answers(logits: Tensor) -> Tensor:
    """Log probabilities, floored: what an answer says about every class."""
    return logits.log_softmax(2).clamp_min(-12) / 4


@torch.no_grad()
def extract_probe(group: NetworkGroup, in_canonical_form: bool = True, state: State | None = None) -> Columns:
    """Columns of answers to the learned inputs: log probabilities, how sure, how spread, and how often each class is said."""
    probes = (state or {}).get("all")
    if probes is None:
        return [], np.zeros((len(group), 0))
    logits = run_group(group, probes.inputs)
    log_probabilities = logits.log_softmax(2).clamp_min(-12)
    probability = log_probabilities.exp()
    sure = probability.amax(2)
    entropy = -(probability * log_probabilities).sum(2)
    norm = logits.std(2)
    columns = [log_probabilities.flatten(1), sure, entropy, norm.clamp_min(1e-9).log()]
    summary = [x.mean(1, keepdim=True) for x in (sure, entropy, norm)]
    usage = probability.mean(1).sort(1).values
    values = torch.cat([*columns, *summary, usage], 1).double().nan_to_num(0.0).numpy()
    return _name_answers(values.shape[1]), values


def _name_answers(count: int) -> list[str]:
    """Columns without a meaning of their own."""
    return [f"answer{i}" for i in range(count)]
