"""A string said twice: accuracy on the second time rises when induction heads form."""

from __future__ import annotations

import torch

from digsite.base.streams import derive_seed
from digsite.data import sequences
from digsite.models import build
from digsite.models.config import parse
from digsite.track.config import InductionTask, TransitionConfig
from digsite.track.core.mechanisms.induction import copying, head_circuits, prefix_matching
from digsite.track.core.probe import Probe
from digsite.track.subjects.grid import seeds_of
from digsite.track.subjects.transitions._setup import Setup, generator
from digsite.train import Ensemble, Member, Stream


def setup(task: InductionTask, config: TransitionConfig) -> Setup:
    def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        draw = generator(derive_seed(config.seed, "strings", step))
        tokens = sequences.repeated(task.batch, task.half, task.vocab, draw)
        return tokens, tokens

    held_out = sequences.repeated(64, task.half, task.vocab, generator(derive_seed(config.seed, "probe")))

    def accuracy(ensemble: Ensemble) -> torch.Tensor:
        """On the predictable tokens: all of the second time but the first."""
        guesses = ensemble.forward(held_out).argmax(-1)[..., task.half : -1]
        return (guesses == held_out[:, task.half + 1 :]).double().mean((-1, -2))

    def matching(ensemble: Ensemble) -> torch.Tensor:
        """The best head's attention to what followed the token's earlier occurrence."""
        best = []
        for i in range(len(ensemble.members)):
            captured, _ = Probe(held_out[:16]).run(ensemble.module(i), [], patterns=True)
            best.append(
                max(float(prefix_matching(p, held_out[:16]).max()) for p in captured.patterns.values())
            )
        return torch.tensor(best, dtype=torch.float64)

    def behavior(ensemble: Ensemble) -> torch.Tensor:
        return torch.stack([accuracy(ensemble), matching(ensemble), _copying(ensemble, task.heads)], 1)

    return Setup(
        model=build(
            parse(
                {
                    "kind": "induction",
                    "vocab": task.vocab,
                    "context": 2 * task.half,
                    "d_model": task.width,
                    "n_heads": task.heads,
                }
            )
        ),
        data=Stream(batch),
        members=[
            Member(seed=s, lr=config.lr, steps=config.steps) for s in seeds_of(config.seed, config.seeds)
        ],
        probe=Probe(held_out, n_rows=config.rows, seed=config.seed),
        loss="next_token",
        channels=("second-time accuracy", "prefix matching", "copying"),
        behavior=behavior,
    )


def _copying(ensemble: Ensemble, heads: int) -> torch.Tensor:
    """The best copying score among the heads of the last layer."""
    p = ensemble.params
    last = max(int(name.split(".")[1]) for name in p if name.startswith("layers."))
    value, output = (p[f"layers.{last}.{side}_proj.weight"] for side in "vo")
    best = []
    for i in range(len(ensemble.members)):
        circuits = head_circuits(p["embed.weight"][i], value[i], output[i], p["unembed.weight"][i], heads)
        best.append(max(copying(circuit) for circuit in circuits))
    return torch.tensor(best, dtype=torch.float64)
