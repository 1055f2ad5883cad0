"""Sparse autoencoders, transcoders and crosscoders trained as one ensemble over width, sparsity and seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from digsite.base import families
from digsite.base.errors import NotFound, UsageError, name_nearest
from digsite.base.streams import derive_seed

PACKAGE = "digsite.graft.core.saes"
TASKS = ("autoencoder", "transcoder", "crosscoder")


@dataclass(frozen=True)
class SaeSpec:
    """One autoencoder: its kind, how many codes, its sparsity (a penalty, or codes that stay on), its seed."""

    kind: str = "topk"
    width: int = 64
    sparsity: float = 8.0
    seed: int = 0


def list_kinds(streams: int = 1) -> list[str]:
    """The kinds of autoencoder, by name, that read activations of so many models side by side."""
    return [name for name, kind in families.scan_family(PACKAGE).items() if streams >= kind.STREAMS]


def find_kind(kind: str):
    """The class of a kind by its name."""
    known = families.list_members(PACKAGE)
    if kind not in known:
        raise NotFound(f"There is no kind of autoencoder '{kind}'.", hint=name_nearest(kind, known))
    return families.scan_family(PACKAGE)[kind]


class Sae(nn.Module):
    """A trained autoencoder, transcoder or crosscoder (`task`). Inputs are divided by `scale` on the way in, and what is
    rebuilt is multiplied by `scale_out`: one number, or one for every dimension where several models lie side by side."""

    scale: Tensor
    scale_out: Tensor

    def __init__(
        self,
        spec: SaeSpec,
        params: dict[str, Tensor],
        scale: Tensor,
        scale_out: Tensor | None = None,
        task: str = "autoencoder",
    ) -> None:
        super().__init__()
        assert task in TASKS, task
        self.spec, self.kind, self.task = spec, find_kind(spec.kind), task
        self.params = nn.ParameterDict({k.replace("/", "__"): v.detach().clone() for k, v in params.items()})
        self.register_buffer("scale", scale.detach().clone())
        self.register_buffer("scale_out", (scale if scale_out is None else scale_out).detach().clone())

    def stack_parameters(self) -> dict[str, Tensor]:
        """The parameters by name with a leading axis of one member, as the kinds take them."""
        return {k.replace("__", "/"): v[None] for k, v in self.params.items()}

    def encode(self, x: Tensor) -> Tensor:
        """Codes (n, codes) of inputs (n, d)."""
        knob = torch.tensor([self.spec.sparsity])
        return self.kind.encode_stacked(self.stack_parameters(), (x / self.scale)[None], knob)[0]

    def decode(self, z: Tensor) -> Tensor:
        """What is rebuilt (n, d_out) from codes (n, codes)."""
        return self.kind.decode_stacked(self.stack_parameters(), z[None])[0] * self.scale_out

    def forward(self, x: Tensor) -> Tensor:
        """Inputs, or what a map makes of them, rebuilt through the code."""
        return self.decode(self.encode(x))


def train_saes(
    x: Tensor,
    specs: Sequence[SaeSpec],
    *,
    wanted: Tensor | None = None,
    streams: int = 1,
    steps: int = 300,
    lr: float = 1e-3,
    batch: int = 128,
    seed: int = 0,
) -> list[Sae]:
    """All members together: one optimizer step of the summed losses moves each as if it were alone.

    `x`: activations (n, d); those of several models side by side, `streams` of them, make crosscoders, each model at its own
    scale. `wanted`: what a map made of them, (n, d_out), makes transcoders. Members of one kind and width are stacked; the
    order of batches is the same for all.
    """
    if len(x) < 2:
        raise UsageError(
            f"{len(x)} activations are too few to train an autoencoder.", hint="At least 2 are needed."
        )
    if wanted is not None and (streams > 1 or len(wanted) != len(x)):
        raise UsageError(
            f"A transcoder maps each of {len(x)} activations of one model to its own output, and {len(wanted)} outputs "
            f"and {streams} models were given."
        )
    if x.shape[1] % streams:
        raise UsageError(f"{x.shape[1]} dimensions are not {streams} models of one width side by side.")
    scale = measure_scale(x, streams)
    scale_out = scale if wanted is None else measure_scale(wanted)
    rows = (x / scale, None if wanted is None else wanted / scale_out)
    task = TASKS[2 if streams > 1 else int(wanted is not None)]
    groups: dict[tuple[str, int], list[int]] = {}
    for i, spec in enumerate(specs):
        if streams < find_kind(spec.kind).STREAMS:
            raise UsageError(f"A '{spec.kind}' reads two models side by side; give streams=2.")
        groups.setdefault((spec.kind, spec.width), []).append(i)
    out: dict[int, Sae] = {}
    for index in groups.values():
        some = [specs[i] for i in index]
        trained = _train_group(*rows, some, steps, lr, batch, seed)
        out.update(
            (i, Sae(spec, params, scale, scale_out, task)) for i, spec, params in zip(index, some, trained)
        )
    return [out[i] for i in range(len(specs))]


def measure_scale(x: Tensor, streams: int = 1) -> Tensor:
    """The spread of all entries; with several models side by side that of each, at each of its dimensions."""
    if streams == 1:
        return x.std().clamp_min(1e-6)
    each = x.unflatten(1, (streams, -1)).transpose(0, 1).flatten(1).std(1).clamp_min(1e-6)
    return each.repeat_interleave(x.shape[1] // streams)


def _train_group(
    x: Tensor, wanted: Tensor | None, specs: list[SaeSpec], steps: int, lr: float, batch: int, seed: int
) -> list[dict[str, Tensor]]:
    """Parameters of members of one kind and width, trained stacked (K, ...) on inputs (n, d) that are scaled already.

    Every member's start is drawn from its own seed, the batches from the run's, so a member is the same alone and among others.
    """
    kind, d = find_kind(specs[0].kind), x.shape[1]
    d_out = None if wanted is None else wanted.shape[1]
    drawn = [
        kind.draw_parameters(
            d, s.width, torch.Generator().manual_seed(derive_seed(s.seed, "graft/sae", s.width)), d_out
        )
        for s in specs
    ]
    params = {k: torch.stack([p[k] for p in drawn]) for k in drawn[0]}
    aim = x if wanted is None else wanted
    if "b_dec" in params:
        params["b_dec"] += aim.mean(0)
    knob = torch.tensor([s.sparsity for s in specs])
    # Not by the trainer: the members are stacked as here, and their loss is of the codes and not of an output.
    solver = torch.optim.Adam([p.requires_grad_() for p in params.values()], lr)
    draw = torch.Generator().manual_seed(derive_seed(seed, "graft/sae-batches"))
    with torch.enable_grad():
        for _ in range(steps):
            pick = torch.randint(len(x), (min(batch, len(x)),), generator=draw)
            rows, aimed = (t[pick].expand(len(specs), -1, -1) for t in (x, aim))
            solver.zero_grad(set_to_none=True)
            kind.measure_loss(params, rows, knob, aimed).sum().backward()
            solver.step()
    return [{k: v[i].detach() for k, v in params.items()} for i in range(len(specs))]


@torch.no_grad()
def explain_by_principal(train: Tensor, held: Tensor, rank: int) -> float:
    """Variance of `held` that the first `rank` principal directions of `train` explain: what a dictionary must beat."""
    center = train.mean(0)
    directions = torch.linalg.svd(train - center, full_matrices=False).Vh[:rank]
    left = (held - center) - (held - center) @ directions.T @ directions
    return float(1 - left.square().sum() / (held - held.mean(0)).square().sum().clamp_min(1e-12))


@torch.no_grad()
def measure_quality(sae: Sae, x: Tensor) -> dict[str, float]:
    """Explained variance, codes open per input and share of codes never open, on inputs `x` (n, d) that were not trained on."""
    z = sae.encode(x)
    left = (sae.decode(z) - x).square().sum() / (x - x.mean(0)).square().sum().clamp_min(1e-12)
    is_open = z > 0
    return {
        "explained": float(1 - left),
        "open_codes": float(is_open.float().sum(1).mean()),
        "dead_frac": float((~is_open.any(0)).float().mean()),
    }


# What a dictionary's codes mean in activation space: one direction per code, whatever its decoder is made of.


@torch.no_grad()
def directions_of(sae: Sae, x: Float[Tensor, "n width"]) -> Float[Tensor, "codes out"]:
    """The change of the output per unit of each code. A linear decoder's rows; for one with a nonlinearity the finite
    difference at the mean code of `x`, where it is used."""
    params = dict(sae.stack_parameters())
    if "W_dec" in params:
        return params["W_dec"][0] * sae.scale_out
    mean = sae.encode(x).mean(0)
    step = mean.abs().mean().clamp_min(1e-3)
    moved = mean + step * torch.eye(len(mean))
    return (sae.decode(moved) - sae.decode(mean[None])) / step
