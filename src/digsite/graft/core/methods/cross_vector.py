"""A learned aligner brings the donor's code over, across architectures (legacy method 11)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.config import Config, Field
from digsite.graft.core import injection
from digsite.graft.core.methods.vector_space import FreeSpace
from digsite.graft.core.pair import Message, Side

SAME_SHAPE = False


class Options(Config):
    width: int = Field(20, gt=0, description="codes of the autoencoder")
    epochs: int = Field(20, gt=0, description="passes of the autoencoder over the shared images")
    n_free: int = Field(5, gt=0, description="least used directions of the receiver's codes")
    leak: bool = Field(False, description="fit on TEST images of the new class, as published")


def budget(options: Options) -> str:
    return "sabt" if options.leak else "sabF"


def message(options: Options, donor: Side) -> Message:
    return injection.donor_codes(donor, options.width, options.epochs)


def aligned(theirs: Tensor, mine: Tensor, concept: Tensor, draw: torch.Generator) -> Tensor:
    """c-c-c with ReLU, dropout and layer norm, 150 full-batch steps on the shared images' codes."""
    width = mine.shape[1]
    first, last = injection.perceptron(width, width, draw=draw), injection.perceptron(width, width, draw=draw)
    norm = nn.LayerNorm(width)
    parameters = [*first.parameters(), *last.parameters(), *norm.parameters()]
    solver = torch.optim.Adam(parameters, 0.01)

    def forward(z: Tensor, keep: Tensor | float) -> Tensor:
        return last(norm(first(z).relu() * keep))

    with torch.enable_grad():
        for _ in range(150):
            keep = (torch.rand(len(theirs), width, generator=draw) > 0.2) / 0.8
            solver.zero_grad()
            F.mse_loss(forward(theirs, keep), mine).backward()
            solver.step()
    return forward(concept, 1.0).detach()


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    sae = injection.autoencoder(receiver, options.width, options.epochs)
    mine = injection.codes(receiver, sae, receiver.access.shared(injection.N_SHARED))
    concept = message.tensors[f"center/{injection.one_class(receiver)}"]
    place = aligned(message.tensors["shared"], mine, concept, receiver.generator("aligner"))
    free = injection.free_space(injection.codes(receiver, sae, receiver.access.old(4000)), options.n_free)
    model = FreeSpace(receiver, sae, place, free)
    model.strength.data.fill_(0.2)
    model.detector = injection.perceptron(options.width, 12, 1, draw=receiver.generator("detector"))
    recipe = injection.Recipe(steps=35, lr=0.006, n_old=32, n_new=24, old_mse=0.8, old_ce=0.2, new_ce=0.1)
    return injection.fit(
        model, receiver, recipe, lambda n: n.startswith(("offset", "strength", "keep", "detector"))
    )
