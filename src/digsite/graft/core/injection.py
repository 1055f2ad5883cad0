"""Concept injection into the penultimate layer: the shared parts of the five published autoencoder methods."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.base.errors import UsageError
from digsite.graft.core.access import LabelledImages
from digsite.graft.core.dictionaries import Sae, SaeSpec, train_saes
from digsite.graft.core.edits import ReadingGraft
from digsite.graft.core.nets import Acts, find_head
from digsite.graft.core.pair import Message, Side

N_SHARED, N_NEW = 2042, 1000  # images as in the published runs: all shared test images, 50 steps of 20


def find_one_class(side: Side) -> int:
    """The one new class of a side; more than one is refused, since the published methods have one place for one code."""
    if len(side.new) != 1:
        raise UsageError(
            f"This method injects one class, {len(side.new)} were asked for.", hint="Graft in sequence."
        )
    return side.new[0]


def train_bottleneck(side: Side, width: int, epochs: int) -> Sae:
    """The published bottleneck on this side's penultimate activations of the shared images."""
    images = side.access.open_shared(N_SHARED)

    def compute() -> Sae:
        last = side.collect_acts(images).last
        steps = max(100, epochs * len(images) // 128)
        spec = SaeSpec("bottleneck", width, 0.05, side.derive_seed("sae"))
        return train_saes(last, [spec], steps=steps, seed=side.seed)[0]

    return side.access.lens.compute_once(side.model, ("bottleneck", width, epochs, images.key), compute)


@torch.no_grad()
def encode_images(side: Side, sae: Sae, images: LabelledImages) -> Tensor:
    """Codes (n, codes) of this side's penultimate features of the images."""
    return sae.encode(side.collect_acts(images).last)


def send_codes(donor: Side, width: int, epochs: int) -> Message:
    """What crosses: the donor's codes of the shared images, and its mean code of each class."""
    sae = train_bottleneck(donor, width, epochs)
    shared = donor.access.open_shared(N_SHARED)
    tensors = {"shared": encode_images(donor, sae, shared)}
    for c in (*donor.pair.shared, find_one_class(donor)):
        images = donor.access.open_donor((c,), N_NEW)
        tensors[f"center/{c}"] = encode_images(donor, sae, images).mean(0)
    return Message(tensors)


def average_codes(side: Side, sae: Sae) -> dict[int, Tensor]:
    """The receiver's mean code of each shared class."""
    images = side.access.open_shared(N_SHARED)
    z = encode_images(side, sae, images)
    return {c: z[images.y == c].mean(0) for c in side.pair.shared}


def keep_specific(message: Message, new: int, shared: Sequence[int], n: int) -> Tensor:
    """The donor's mean new code with all but the `n` most specific entries set to zero."""
    center = message.tensors[f"center/{new}"]
    gap = center - torch.stack([message.tensors[f"center/{c}"] for c in shared]).mean(0)
    keep = torch.zeros_like(center)
    keep[gap.topk(min(n, len(gap))).indices] = 1
    return center * keep


def find_free_space(z: Tensor, n: int) -> Tensor:
    """The directions in which these codes vary least, as rows; "free" in the published sense."""
    return torch.linalg.svd(z - z.mean(0), full_matrices=False).Vh[-n:]


class Injected(ReadingGraft):
    """The receiver with its penultimate features edited before its own head reads them."""

    def __init__(self, side: Side, sae: Sae) -> None:
        super().__init__(side.model, side.head, side.new)
        self.sae = sae

    def find_presence(self, z: Tensor) -> Tensor:
        """How much of the concept is in each input, (n, 1) in [0, 1]."""
        raise NotImplementedError

    def edit_features(self, h: Tensor, z: Tensor, p: Tensor) -> Tensor:
        """Features (n, width) after the injection, from features `h`, their codes `z` and presences `p` (n, 1)."""
        raise NotImplementedError

    def read_features(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (n, outputs) of the receiver's own head on the edited features `h` (n, width), and presences (n, 1)."""
        z = self.sae.encode(h)
        p = self.find_presence(z)
        return find_head(self.base, self.name)(self.edit_features(h, z, p)), p

    def answer_seen(self, seen: Acts) -> Tensor:
        """Logits from the penultimate features that were seen."""
        return self.read_features(seen.last)[0]


@dataclass(frozen=True)
class InjectionRecipe:
    """Steps and loss weights of one published fit; zero switches a term off."""

    steps: int
    lr: float
    n_old: int
    n_new: int
    old_mse: float = 0.0
    old_ce: float = 0.0
    old_presence: float = 0.0
    new_ce: float = 1.0
    new_presence: float = 0.0
    new_kl: float = 0.0


def fit_injection(
    model: Injected, side: Side, recipe: InjectionRecipe, learned: Callable[[str], bool]
) -> nn.Module:
    """Adam on the parameters that `learned` names, on labelled new images and (where weighted) old ones."""
    new = side.access.open_shots().take_first(N_NEW)
    h_new, y_new = side.collect_acts(new).last, new.y
    old = side.access.open_old(4000) if recipe.n_old else None
    h_old = side.collect_acts(old).last if old else None
    chosen = [p.requires_grad_() for name, p in model.named_parameters() if learned(name)]
    # Not by the trainer: a part of the parameters learns, from two batches with a loss each.
    solver, draw = torch.optim.Adam(chosen, recipe.lr), side.make_generator("injection")
    top = find_head(model.base, model.name)
    with torch.enable_grad():
        for _ in range(recipe.steps):
            pick = torch.randint(len(h_new), (recipe.n_new,), generator=draw)
            loss = _new_loss(model, h_new[pick], y_new[pick], top, recipe)
            if old is not None and h_old is not None:
                pick = torch.randint(len(h_old), (recipe.n_old,), generator=draw)
                loss = loss + _old_loss(model, h_old[pick], old.y[pick], top, recipe)
            solver.zero_grad(set_to_none=True)
            loss.backward()
            solver.step()
    return model.requires_grad_(False).eval()


def _new_loss(model: Injected, h: Tensor, y: Tensor, top: nn.Linear, recipe: InjectionRecipe) -> Tensor:
    """What the recipe asks of new-class features `h` (n, width) with labels `y`: their name, presence, and no other change."""
    out, p = model.read_features(h)
    loss = recipe.new_ce * F.cross_entropy(out, y)
    if recipe.new_presence:
        loss = loss - recipe.new_presence * p.clamp_min(1e-6).log().mean()
    if recipe.new_kl:
        before = top(h).log_softmax(1)
        loss = loss + recipe.new_kl * F.kl_div(
            out.log_softmax(1), before, log_target=True, reduction="batchmean"
        )
    return loss


def _old_loss(model: Injected, h: Tensor, y: Tensor, top: nn.Linear, recipe: InjectionRecipe) -> Tensor:
    """What the recipe asks of old features `h` (n, width): the receiver's own logits and labels, and no presence."""
    out, p = model.read_features(h)
    loss = recipe.old_mse * F.mse_loss(out, top(h)) + recipe.old_ce * F.cross_entropy(out, y)
    return loss + recipe.old_presence * p.mean()
