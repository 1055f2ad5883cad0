"""A deep linear network: each mode of the target rises on its own sigmoid, at a time known in closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from digsite.base.streams import derive_seed
from digsite.track.config import DeepLinearTask, TransitionConfig
from digsite.track.core.probe import Probe
from digsite.track.subjects.grid import seeds_of
from digsite.track.subjects.transitions._setup import Setup, generator
from digsite.train import Ensemble, Member, Stream


def setup(task: DeepLinearTask, config: TransitionConfig) -> Setup:
    """y = U diag(s) V^T x on whitened x, from aligned balanced weights of strength `start`."""
    modes, d = len(task.strengths), task.inputs
    draw = generator(derive_seed(config.seed, "target"))
    left = torch.linalg.qr(torch.randn(d, d, generator=draw))[0][:, :modes]
    right = torch.linalg.qr(torch.randn(d, d, generator=draw))[0][:, :modes]
    strengths = torch.tensor(task.strengths)
    target = left @ torch.diag(strengths) @ right.T
    inputs = math.sqrt(d) * torch.linalg.qr(torch.randn(d, d, generator=draw))[0]  # rows: exactly white

    def batch(step: int, member: Member) -> tuple[Tensor, Tensor]:
        noise = torch.randn(d, d, generator=generator(derive_seed(member.seed, "noise", step)))
        return inputs, inputs @ target.T + task.noise * noise

    def halved(outputs: Tensor, targets: Tensor) -> Tensor:
        """So that the gradient is that of the theory: half the squared error, averaged over inputs."""
        return 0.5 * (outputs - targets).square().sum(-1).mean()

    def rises(ensemble: Ensemble) -> Tensor:
        params = ensemble.params
        product = params["1.weight"] @ params["0.weight"]
        return (torch.einsum("im,kij,jm->km", left, product, right) / strengths).double()

    first, second = nn.Linear(d, modes, bias=False), nn.Linear(modes, d, bias=False)
    model = nn.Sequential(first, second)
    root = math.sqrt(task.start)
    with torch.no_grad():
        first.weight.copy_(root * right.T)
        second.weight.copy_(root * left)
    row = torch.cat([p.detach().flatten() for p in model.parameters()])
    members = [
        Member(seed=s, lr=config.lr, optimizer="sgd", steps=config.steps)
        for s in seeds_of(config.seed, config.seeds)
    ]
    return Setup(
        model=model,
        data=Stream(batch, per_member=True),
        members=members,
        probe=Probe(math.sqrt(d) * torch.randn(4 * d, d, generator=draw) / math.sqrt(d), n_rows=4 * d),
        loss=halved,
        channels=tuple(f"mode {s:g}" for s in task.strengths),
        behavior=rises,
        truth={f"mode {s:g}": half_time(s, task.start, config.lr) for s in task.strengths},
        start=row.expand(config.seeds, -1).clone(),
    )


def half_time(strength: float, start: float, lr: float) -> float:
    """Steps until a mode has half its strength (Saxe et al. 2014): a(t) = s / (1 + (s / a0 - 1) exp(-2 s t lr))."""
    return math.log(strength / start - 1) / (2 * strength * lr)
