"""One sparse code read from, and written to, several networks' features of the same images, and the donor's row read through it.

Four methods of the framework are settings of this idea: how many codes, how sparse, nested or not, and over how many networks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor, nn

from digsite.config import Field
from digsite.graft.core.edits import Beside, read_head_rows
from digsite.graft.core.fitting import FitsOnImages, FittingSettings, collect_donor_acts, gather_images
from digsite.graft.core.maps import Affine
from digsite.graft.core.methods import GraftMethod
from digsite.graft.core.nets import list_layers
from digsite.graft.core.operate import rebuild_donor
from digsite.graft.core.pair import Message, Side
from digsite.graft.core.tune import make_cycle, train_companion

KEPT = 128  # principal directions that stand for a network's features while a dictionary is fitted
COMPANIONS = ([64, 32], [128], [64, 64, 64])  # hidden widths of each further network that shares the code


class SharedCode(FitsOnImages, GraftMethod):
    """One dictionary for both networks, and companions if wanted; the receiver's code decoded as the donor's features."""

    class Settings(FittingSettings):
        width: int = Field(32, gt=0, description="codes of the dictionary")
        levels: str = Field(
            "",
            pattern=r"^(\d+(,\d+)*)?$",
            description="codes of each level of a nested dictionary, widest first; its widest is the width",
        )
        n_architectures: int = Field(
            2, ge=2, le=5, description="networks that share it, receiver and donor included"
        )
        sparsity: float = Field(0.02, ge=0, description="penalty on the mean code")

        @model_validator(mode="after")
        def _companions_need_images(self):
            if self.n_architectures > 2 and "a" not in self.data:
                raise ValueError(
                    "companions train on the receiver's old images, so `data` must hold the letter a"
                )
            return self

    def apply_message(self, receiver: Side, message: Message) -> nn.Module:
        """The donor's row behind the code, beside the receiver."""
        images, lens = gather_images(self.settings, receiver), receiver.access.lens
        levels = sorted(map(int, self.settings.levels.split(","))) if self.settings.levels else []
        width = levels[-1] if levels else self.settings.width
        mates = [make_companion(receiver, i) for i in range(self.settings.n_architectures - 2)]

        def summarize_once(model: nn.Module) -> Features:
            seen = lens.collect_acts(model, images, receiver.head if model is receiver.model else None)
            key = ("features", images.key)
            return lens.compute_once(model, key, lambda: Features.of_activations(seen.everything, KEPT))

        theirs = Features.of_activations(collect_donor_acts(receiver, message, images).last, KEPT)
        draw = receiver.make_generator("codes", width)
        parts = [summarize_once(receiver.model), theirs, *(summarize_once(net) for net in mates)]
        shared = fit_shared_codes(parts, width, self.settings.sparsity, draw, levels=levels[:-1], steps=250)
        donor_head = receiver.pair.name_heads()[1]
        row, bias = read_head_rows(rebuild_donor(receiver, message), donor_head, receiver.new)
        return Beside(receiver.model, receiver.head, receiver.new, shared.make_reader(0, 1, row, bias))


class ConceptDimension(SharedCode):
    """One dictionary for both networks, by its size (framework method 3)."""

    PRESET = "width=32 sparsity=0.05"
    GROUP = "injection"
    STUDIED = tuple(
        f"width={width} sparsity={sparsity}"
        for width in (8, 12, 16, 20, 24, 32, 48, 64, 96)
        for sparsity in (0.03, 0.05, 0.08)
    )


class SparsityOptimization(SharedCode):
    """One dictionary of 32 codes for both networks, by its sparsity (framework method 4)."""

    PRESET = "width=32 sparsity=0.02"
    GROUP = "injection"
    STUDIED = tuple(f"sparsity={s}" for s in (0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.15, 0.2, 0.3))


class Hierarchical(SharedCode):
    """A nested dictionary: each prefix of the codes must do alone (framework method 5)."""

    PRESET = "levels=48,24 sparsity=0.02"
    GROUP = "injection"
    STUDIED = ("levels=48,24", "levels=64,32", "levels=72,36,18", "levels=96,48,24", "levels=80,40,20,10")


class Universal(SharedCode):
    """One dictionary over several architectures, companions of the receiver among them (framework method 8)."""

    PRESET = "n_architectures=3 sparsity=0.02"
    GROUP = "injection"
    STUDIED = (
        "width=32 n_architectures=3",
        "width=48 n_architectures=3",
        "width=64 n_architectures=4",
        "width=96 n_architectures=5",
    )


def make_companion(receiver: Side, index: int) -> nn.Module:
    """A small network of another architecture that the receiver's owner trains on the same old classes."""
    old = receiver.access.open_old(6000)
    n_classes = list(list_layers(receiver.model).values())[-1].weight.shape[0]

    def train_once() -> nn.Module:
        sizes = [old.x.shape[1:].numel(), *COMPANIONS[index], n_classes]
        return train_companion(sizes, old.x, old.y, receiver.make_generator("companion", index))

    return receiver.access.lens.compute_once(receiver.model, ("companion", index, old.key), train_once)


@dataclass(frozen=True)
class Features:
    """A network's features in their principal directions, brought to one size: `x` (n, kept) = (h - center) @ axes / scale."""

    x: Tensor
    center: Tensor
    axes: Tensor
    scale: Tensor

    @classmethod
    def of_activations(cls, h: Tensor, n: int) -> "Features":
        """The `n` directions in which the features vary most; a fit in them costs a fraction and loses little."""
        center = h.mean(0)
        away = h - center
        axes = torch.linalg.eigh(away.T @ away).eigenvectors[:, -n:]
        scale = away.square().mean().sqrt().clamp_min(1e-6)
        return cls(away @ axes / scale, center, axes, scale)


@dataclass(frozen=True)
class JointCode:
    """By network, what writes the code from its features, and what makes its features from the code."""

    encoders: list[Affine]
    decoders: list[Affine]

    def encode_from(self, i: int, h: Float[Tensor, "n width"]) -> Float[Tensor, "n codes"]:
        """The code of features `h` of network `i`."""
        return self.encoders[i](h).relu()

    def decode_to(self, i: int, z: Float[Tensor, "n codes"]) -> Float[Tensor, "n width"]:
        """What network `i` would have for features, given the code."""
        return self.decoders[i](z)

    def make_reader(
        self, receiver_size: int, theirs: int, row: Float[Tensor, "new width"], bias: Float[Tensor, "new"]
    ) -> nn.Module:
        """From features of network `receiver_size` to what the rows of network `theirs` make of them, through the code."""
        read = Affine(*self.decoders[theirs].carry_rows(row, bias))
        return nn.Sequential(
            self.encoders[receiver_size].to_layer(), nn.ReLU(), read.to_layer()
        ).requires_grad_(False)


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
) -> JointCode:
    """Encoders and decoders of `width` codes: every network's code must rebuild every network's features.

    `features`: of the same images, network by network. `sparsity`: times the mean code, the penalty. `draw`: of the start and
    the batches. `levels`: prefixes of the code that must rebuild alone. `steps`, `lr`, `batch`: of Adam with one cycle.
    """
    xs = [f.x for f in features]
    enc = [
        torch.randn(x.shape[1], width, generator=draw) / f.axes.shape[0] ** 0.5 for x, f in zip(xs, features)
    ]
    dec = [e.T.clone() / 2 for e in enc]
    enc_b, dec_b = [torch.zeros(width) for _ in xs], [torch.zeros(x.shape[1]) for x in xs]
    learned = [p.requires_grad_() for group in (enc, dec, enc_b, dec_b) for p in group]
    # Not by the trainer: encoders of several networks learn one code, with a loss over its prefixes.
    solver = torch.optim.Adam(learned, lr, fused=True)
    cycle = make_cycle(solver, lr, steps)
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
    return JointCode(
        [_undo_encoder(f, w, b) for f, w, b in zip(features, e, eb)],
        [_undo_decoder(f, w, b) for f, w, b in zip(features, d, db)],
    )


def _undo_encoder(f: Features, weight: Tensor, bias: Tensor) -> Affine:
    """An encoder of principal coordinates as one of the features themselves."""
    w = (f.axes @ weight / f.scale).T.contiguous()
    return Affine(w, bias - w @ f.center)


def _undo_decoder(f: Features, weight: Tensor, bias: Tensor) -> Affine:
    """A decoder into principal coordinates as one into the features themselves."""
    return Affine((weight @ f.axes.T * f.scale).T.contiguous(), (bias @ f.axes.T) * f.scale + f.center)
