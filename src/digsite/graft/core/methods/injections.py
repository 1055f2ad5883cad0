"""Concepts injected into the penultimate layer through a bottleneck's code: the published autoencoder methods (legacy 8 to 12).

Each edits the receiver's features before its own head reads them, and learns a few parameters of that edit on labelled
images of the new class; with `leak=true` on test images, as published, and then its line in the ledger is void.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.config import Config, Field
from digsite.graft.core.dictionaries import Sae
from digsite.graft.core.injection import (
    N_SHARED,
    Injected,
    InjectionRecipe,
    average_codes,
    encode_images,
    find_free_space,
    find_one_class,
    fit_injection,
    keep_specific,
    send_codes,
    train_bottleneck,
)
from digsite.graft.core.maps import fit_rotation
from digsite.graft.core.methods import GraftMethod
from digsite.graft.core.pair import Message, Side
from digsite.graft.core.tune import draw_perceptron

FREE = ("offset", "strength", "keep", "detector")  # what the free-space methods learn


class InjectionSettings(Config):
    """What the five methods share."""

    width: int = Field(20, gt=0, description="codes of the autoencoder")
    epochs: int = Field(20, gt=0, description="passes of the autoencoder over the shared images")
    leak: bool = Field(False, description="fit on TEST images of the new class, as published")


class _InjectsCode:
    """The donor sends codes; the images are shared ones, old ones, the donor's own and labelled ones of the new class."""

    settings: Any

    def declare_budget(self) -> str:
        """All labelled training images of the new class, or (a leak) its test images."""
        return "sabt" if self.settings.leak else "sabF"

    def take_message(self, donor: Side) -> Message:
        """The donor's codes of the shared images and its mean code of each class."""
        return send_codes(donor, self.settings.width, self.settings.epochs)


class GradientInjection(_InjectsCode, GraftMethod):
    """The new class's codes sent through a mapper into every input (legacy method 8): all becomes the new class."""

    GROUP = "surgery"

    class Settings(InjectionSettings):
        n_codes: int = Field(8, gt=0, description="most specific donor codes that are kept")

    def declare_budget(self) -> str:
        """No old image is looked at, which is why nothing old is kept."""
        return "sbt" if self.settings.leak else "sbF"

    def apply_message(self, receiver: Side, message: Message) -> nn.Module:
        """The receiver with the mapped code added to every input's."""
        new = find_one_class(receiver)
        sae = train_bottleneck(receiver, self.settings.width, self.settings.epochs)
        concept = keep_specific(message, new, receiver.pair.shared, self.settings.n_codes)
        recipe = InjectionRecipe(steps=50, lr=0.01, n_old=0, n_new=32, new_ce=1.0, new_kl=0.1)
        model = Everywhere(receiver, sae, concept)
        return fit_injection(model, receiver, recipe, lambda name: name.startswith("mapper"))


class Everywhere(Injected):
    """The concept's code, mapped, added to the code of every input."""

    def __init__(self, side: Side, sae: Sae, concept: Float[Tensor, "codes"]) -> None:
        super().__init__(side, sae)
        width = len(concept)
        self.register_buffer("concept", concept)
        self.mapper = draw_perceptron(width, width, width, draw=side.make_generator("mapper"))

    def find_presence(self, z: Float[Tensor, "n codes"]) -> Float[Tensor, "n 1"]:
        """One, whatever is seen."""
        return z.new_ones(len(z), 1)

    def edit_features(self, h: Tensor, z: Tensor, p: Tensor) -> Float[Tensor, "n width"]:
        """The concept added to every code."""
        return self.sae.decode(z + p * self.mapper(self.get_buffer("concept")))


class PreservedInjection(_InjectsCode, GraftMethod):
    """Codes injected where a detector sees the concept, blended with the original features (legacy method 9)."""

    GROUP = "surgery"

    class Settings(InjectionSettings):
        n_codes: int = Field(4, gt=0, description="most specific donor codes that are kept")

    def apply_message(self, receiver: Side, message: Message) -> nn.Module:
        """The receiver with detector, mapper and blend, fitted together."""
        new = find_one_class(receiver)
        sae = train_bottleneck(receiver, self.settings.width, self.settings.epochs)
        concept = keep_specific(message, new, receiver.pair.shared, self.settings.n_codes)
        recipe = InjectionRecipe(
            steps=60,
            lr=0.005,
            n_old=32,
            n_new=16,
            old_mse=0.6,
            old_ce=0.3,
            old_presence=0.01,
            new_ce=0.1,
            new_presence=0.05,
        )
        model = Preserved(receiver, sae, concept)
        return fit_injection(model, receiver, recipe, lambda n: n.startswith(("mapper", "detector", "keep")))


class Preserved(Injected):
    """A detector says where the mapped concept is added; at least 0.72 of the original features stay."""

    concept: Tensor

    def __init__(self, side: Side, sae: Sae, concept: Float[Tensor, "codes"]) -> None:
        super().__init__(side, sae)
        width = len(concept)
        self.register_buffer("concept", concept)
        self.mapper = draw_perceptron(width, width, draw=side.make_generator("mapper"))
        self.detector = draw_perceptron(width, 16, 1, draw=side.make_generator("detector"))
        self.keep = nn.Parameter(torch.tensor(0.0))

    def find_presence(self, z: Float[Tensor, "n codes"]) -> Float[Tensor, "n 1"]:
        """How much the detector sees the new class."""
        return torch.sigmoid(self.detector(z))

    def edit_features(self, h: Tensor, z: Tensor, p: Tensor) -> Float[Tensor, "n width"]:
        """At least 0.72 of the receiver's own features stays, which is the published number."""
        keep = 0.72 + 0.28 * torch.sigmoid(self.keep)
        return keep * h + (1 - keep) * self.sae.decode(z + p * self.mapper(self.concept))


class VectorSpace(_InjectsCode, GraftMethod):
    """The donor's code rotated into the receiver's and added in its least used directions (legacy method 10)."""

    GROUP = "surgery"
    STUDIED = ("", "as_published=true")

    class Settings(InjectionSettings):
        width: int = Field(24, gt=0, description="codes of the autoencoder")
        as_published: bool = Field(False, description="apply the rotation transposed, as the original did")

    def apply_message(self, receiver: Side, message: Message) -> nn.Module:
        """The receiver with the rotated code pushed into its free directions where a detector sees it."""
        width = self.settings.width
        sae = train_bottleneck(receiver, width, self.settings.epochs)
        free = find_free_space(
            encode_images(receiver, sae, receiver.access.open_old(4000)), min(8, width // 3)
        )
        turned = self.turn_concept(receiver, sae, message)
        model = FreeSpace(receiver, sae, turned, free)
        recipe = InjectionRecipe(
            steps=40, lr=0.008, n_old=32, n_new=24, old_mse=0.7, old_ce=0.3, new_ce=0.15, new_presence=0.05
        )
        return fit_injection(model, receiver, recipe, lambda n: n.startswith(FREE))

    def turn_concept(self, receiver: Side, sae: Sae, message: Message) -> Float[Tensor, "codes"]:
        """The donor's mean new code in the receiver's code space; transposed, as published, it is another place."""
        receiver_codes = encode_images(receiver, sae, receiver.access.open_shared(N_SHARED))
        turn = fit_rotation(message.tensors["shared"], receiver_codes, centered=False).weight
        turn = turn.T if self.settings.as_published else turn
        return turn @ message.tensors[f"center/{find_one_class(receiver)}"]


class CrossVector(_InjectsCode, GraftMethod):
    """A learned aligner brings the donor's code over, across architectures (legacy method 11)."""

    GROUP = "surgery"

    class Settings(InjectionSettings):
        n_free: int = Field(5, gt=0, description="least used directions of the receiver's codes")

    def apply_message(self, receiver: Side, message: Message) -> nn.Module:
        """As in the vector space, the code brought over by a small network instead of a rotation."""
        width = self.settings.width
        sae = train_bottleneck(receiver, width, self.settings.epochs)
        receiver_codes = encode_images(receiver, sae, receiver.access.open_shared(N_SHARED))
        concept = message.tensors[f"center/{find_one_class(receiver)}"]
        draw = receiver.make_generator("aligner")
        aligned = align_concept(message.tensors["shared"], receiver_codes, concept, draw)
        free = find_free_space(
            encode_images(receiver, sae, receiver.access.open_old(4000)), self.settings.n_free
        )
        model = FreeSpace(receiver, sae, aligned, free)
        model.strength.data.fill_(0.2)
        model.detector = draw_perceptron(width, 12, 1, draw=receiver.make_generator("detector"))
        recipe = InjectionRecipe(steps=35, lr=0.006, n_old=32, n_new=24, old_mse=0.8, old_ce=0.2, new_ce=0.1)
        return fit_injection(model, receiver, recipe, lambda n: n.startswith(FREE))


class FreeSpace(Injected):
    """The code of each input pushed towards `goal` (codes,), kept as `place`, in the `free` directions (directions, codes)."""

    place: Tensor
    free: Tensor

    def __init__(
        self, side: Side, sae: Sae, goal: Float[Tensor, "codes"], free: Float[Tensor, "directions codes"]
    ) -> None:
        super().__init__(side, sae)
        self.register_buffer("place", goal)
        self.register_buffer("free", free)
        self.offset = nn.Parameter(torch.zeros_like(goal))
        self.strength = nn.Parameter(torch.tensor(0.3))
        self.keep = nn.Parameter(torch.tensor(0.9))
        self.detector = draw_perceptron(len(goal), 16, 1, draw=side.make_generator("detector"))

    def find_presence(self, z: Float[Tensor, "n codes"]) -> Float[Tensor, "n 1"]:
        return torch.sigmoid(self.detector(z))

    def edit_features(self, h: Tensor, z: Tensor, p: Tensor) -> Float[Tensor, "n width"]:
        """The push stays inside the directions that the receiver hardly uses."""
        push = (self.place + self.offset) @ self.free.T @ self.free
        keep = torch.sigmoid(self.keep)
        return keep * h + (1 - keep) * self.sae.decode(z + self.strength * p * push)


def align_concept(
    theirs: Float[Tensor, "n codes"],
    receiver_codes: Float[Tensor, "n codes"],
    concept: Float[Tensor, "codes"],
    draw: torch.Generator,
) -> Float[Tensor, "codes"]:
    """The donor's `concept` through an aligner fitted from `theirs` to `receiver_codes` on the shared images' codes.

    Codes to codes to codes with ReLU, dropout and layer norm, 150 full-batch steps, as published.
    """
    width = receiver_codes.shape[1]
    first, last = draw_perceptron(width, width, draw=draw), draw_perceptron(width, width, draw=draw)
    norm = nn.LayerNorm(width)
    parameters = [*first.parameters(), *last.parameters(), *norm.parameters()]
    # Not by the trainer: all examples at once and a mask of its own in each step, as published.
    solver = torch.optim.Adam(parameters, 0.01)

    def align_codes(z: Tensor, keep: Tensor | float) -> Tensor:
        return last(norm(first(z).relu() * keep))

    with torch.enable_grad():
        for _ in range(150):
            keep = (torch.rand(len(theirs), width, generator=draw) > 0.2) / 0.8
            solver.zero_grad()
            F.mse_loss(align_codes(theirs, keep), receiver_codes).backward()
            solver.step()
    return align_codes(concept, 1.0).detach()


class AlignedSpatial(_InjectsCode, GraftMethod):
    """The published 87.4 / 97.2: a place for the new class beside the shared ones, codes pulled towards it (legacy 12)."""

    GROUP = "surgery"
    STUDIED = ("", "as_published=true")

    class Settings(InjectionSettings):
        width: int = Field(28, gt=0, description="codes of the autoencoder")
        epochs: int = Field(25, gt=0, description="passes of the autoencoder over the shared images")
        steps: int = Field(50, gt=0, description="steps of the fit")
        as_published: bool = Field(False, description="apply the rotation transposed, as the original did")
        without_new: bool = Field(False, description="control: no image of the new class in the fit")

    def declare_budget(self) -> str:
        """As the others, and for the control no image of the new class at all."""
        return "sab" if self.settings.without_new else super().declare_budget()

    def apply_message(self, receiver: Side, message: Message) -> nn.Module:
        """The receiver with codes pulled to the place that the donor's geometry gives the new class."""
        new, options = find_one_class(receiver), self.settings
        published = train_bottleneck(receiver, options.width, options.epochs)
        parameters = {k: v[0] for k, v in published.stack_parameters().items()}
        sae = Sae(published.spec, parameters, published.scale)  # a copy: it is trained on
        shared = receiver.access.open_shared(N_SHARED)
        receiver_codes = encode_images(receiver, sae, shared)
        turn = fit_rotation(message.tensors["shared"], receiver_codes, centered=False).weight
        turn = turn.T if options.as_published else turn
        centers = average_codes(receiver, sae)
        theirs = {c: message.tensors[f"center/{c}"] for c in (*centers, new)}
        places = [center + turn @ (theirs[new] - theirs[c]) for c, center in centers.items()]
        old = encode_images(receiver, sae, receiver.access.open_old(4000))
        free = find_free_space(old, options.width // 4)
        model = Spatial(receiver, sae, torch.stack(places).mean(0), torch.stack(list(centers.values())), free)
        if options.without_new:
            return model.requires_grad_(False)
        recipe = InjectionRecipe(
            steps=options.steps,
            lr=0.012,
            n_old=32,
            n_new=20,
            old_mse=0.6,
            old_ce=0.4,
            new_ce=0.3,
            new_presence=0.1,
        )
        return fit_injection(model, receiver, recipe, lambda name: not name.startswith("base"))


class Spatial(Injected):
    """Codes pulled to `goal` (codes,), kept as `place`, where they are `near` (shared, codes) a shared class or a detector says so."""

    place: Tensor
    near: Tensor
    free: Tensor

    def __init__(
        self,
        side: Side,
        sae: Sae,
        goal: Float[Tensor, "codes"],
        near: Float[Tensor, "shared codes"],
        free: Float[Tensor, "directions codes"],
    ) -> None:
        super().__init__(side, sae)
        for name, value in (("place", goal), ("near", near), ("free", free)):
            self.register_buffer(name, value)
        self.offset = nn.Parameter(torch.zeros_like(goal))
        self.strength = nn.Parameter(torch.tensor(1.0))
        self.keep = nn.Parameter(torch.tensor(0.75))
        self.detector = draw_perceptron(len(goal), 32, 16, 1, draw=side.make_generator("detector"))

    def find_presence(self, z: Float[Tensor, "n codes"]) -> Float[Tensor, "n 1"]:
        """Nearness to donor codes and the detector's answer, in the published shares."""
        closeness = (-torch.cdist(z, self.near) / 5).exp().amax(1, keepdim=True)
        return 0.4 * closeness + 0.6 * torch.sigmoid(self.detector(z))

    def edit_features(self, h: Tensor, z: Tensor, p: Tensor) -> Float[Tensor, "n width"]:
        """A pull towards where the donor has the class."""
        pull = self.place + self.offset - z
        moved = (
            z + 0.7 * self.strength * p * pull + 0.15 * self.strength * p * (pull @ self.free.T @ self.free)
        )
        keep = torch.sigmoid(self.keep) * (1 - p) + 0.2 * p
        return keep * h + (1 - keep) * self.sae.decode(moved)
