"""One sparse code read from, and written to, several networks' features of the same images."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from digsite.graft.core.maps import Affine
from digsite.graft.core.tune import one_cycle


@dataclass(frozen=True)
class Features:
    """A network's features in their principal directions, brought to one size: (h - center) @ axes / scale."""

    x: Tensor
    center: Tensor
    axes: Tensor
    scale: Tensor

    @classmethod
    def of(cls, h: Tensor, n: int) -> "Features":
        """The `n` directions in which the features vary most; a fit in them costs a fraction and loses little."""
        center = h.mean(0)
        away = h - center
        axes = torch.linalg.eigh(away.T @ away).eigenvectors[:, -n:]
        scale = away.square().mean().sqrt().clamp_min(1e-6)
        return cls(away @ axes / scale, center, axes, scale)


@dataclass(frozen=True)
class SharedCodes:
    """By network, what writes the code from its features, and what makes its features from the code."""

    encoders: list[Affine]
    decoders: list[Affine]

    def codes(self, i: int, h: Tensor) -> Tensor:
        return self.encoders[i](h).relu()

    def features(self, i: int, z: Tensor) -> Tensor:
        return self.decoders[i](z)

    def reader(self, mine: int, theirs: int, row: Tensor, bias: Tensor) -> nn.Module:
        """From one network's features to what another one's rows make of them."""
        read = Affine(*self.decoders[theirs].then_rows(row, bias))
        return nn.Sequential(self.encoders[mine].layer(), nn.ReLU(), read.layer()).requires_grad_(False)


def fit_shared_codes(
    features: Sequence[Features],
    width: int,
    sparsity: float,
    draw: torch.Generator,
    *,
    levels: Sequence[int] = (),
    steps: int = 400,
    lr: float = 3e-3,
    batch: int = 256,
) -> SharedCodes:
    """Every network's code must rebuild every network's features; `levels` are prefixes that must do so alone.

    The penalty is `sparsity` times the mean code.
    """
    xs = [f.x for f in features]
    enc = [
        torch.randn(x.shape[1], width, generator=draw) / f.axes.shape[0] ** 0.5 for x, f in zip(xs, features)
    ]
    dec = [e.T.clone() / 2 for e in enc]
    enc_b, dec_b = [torch.zeros(width) for _ in xs], [torch.zeros(x.shape[1]) for x in xs]
    learned = [p.requires_grad_() for group in (enc, dec, enc_b, dec_b) for p in group]
    solver = torch.optim.Adam(learned, lr, fused=True)
    cycle = one_cycle(solver, lr, steps)
    prefixes = [*levels, width] if width not in levels else list(levels)
    share = torch.cat(
        [torch.full((x.shape[1],), 1 / (batch * f.axes.shape[0])) for x, f in zip(xs, features)]
    )
    with torch.enable_grad():
        for _ in range(steps):
            pick = torch.randint(len(xs[0]), (batch,), generator=draw)
            parts = [x[pick] for x in xs]
            z = torch.cat([part @ e + eb for part, e, eb in zip(parts, enc, enc_b)]).relu()
            wanted = torch.cat(parts, 1).repeat(len(parts), 1)  # every code must rebuild all of it
            out, offset = torch.cat(dec, 1), torch.cat(dec_b)
            loss = sparsity * len(parts) * z.mean()
            for n in prefixes:
                gap = torch.addmm(offset, z[:, :n], out[:n]) - wanted
                loss = loss + (gap.square() @ share).sum()
            solver.zero_grad(set_to_none=True)
            loss.backward()
            solver.step()
            cycle.step()
    e, eb, d, db = ([p.detach() for p in group] for group in (enc, enc_b, dec, dec_b))
    return SharedCodes(
        [_written(f, w, b) for f, w, b in zip(features, e, eb)],
        [_rebuilt(f, w, b) for f, w, b in zip(features, d, db)],
    )


def _written(f: Features, weight: Tensor, bias: Tensor) -> Affine:
    """An encoder of principal coordinates as one of the features themselves."""
    w = (f.axes @ weight / f.scale).T.contiguous()
    return Affine(w, bias - w @ f.center)


def _rebuilt(f: Features, weight: Tensor, bias: Tensor) -> Affine:
    return Affine((weight @ f.axes.T * f.scale).T.contiguous(), (bias @ f.axes.T) * f.scale + f.center)
