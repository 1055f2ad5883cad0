"""A concept vector computed before, put into the penultimate layer in one of five forms (framework method 1)."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.config import Config, Field
from digsite.graft.core.dictionaries import Spec, train_saes
from digsite.graft.core.edits import Reading, put, set_rows
from digsite.graft.core.maps import ridge, rotation
from digsite.graft.core.nets import Acts, head
from digsite.graft.core.pair import Message, Side
from digsite.graft.core.rows import head_rows

SAME_SHAPE = False
N_SHARED, N_NEW = 2000, 400
Form = Literal["delta", "rank1", "gate", "lowrank", "bias"]


class Options(Config):
    form: Form = Field(
        "gate",
        description="stored delta on every input; rank-one update; delta behind a sigmoid gate; low-rank update; "
        "a constant on the new logit",
    )
    width: int = Field(48, gt=0, description="codes of each network's dictionary")
    sparsity: float = Field(0.05, gt=0, description="L1 penalty on the gate's weights")
    strength: float = Field(0.4, gt=0, description="factor on what is injected")


def budget(options: Options) -> str:
    return "sab"


def dictionary(side: Side, width: int):
    images = side.access.shared(N_SHARED)

    def compute():
        last = side.acts(images).last
        return train_saes(last, [Spec("l1", width, 0.05, side.derive("dictionary"))], seed=side.seed)[0]

    return side.access.lens.once(side.model, ("l1", width, images.key), compute)


@torch.no_grad()
def message(options: Options, donor: Side) -> Message:
    """The donor's codes and features of shared and of its own new-class images, and its row."""
    sae = dictionary(donor, options.width)
    shared = donor.acts(donor.access.shared(N_SHARED)).last
    new = donor.acts(donor.access.donor(donor.pair.new, N_NEW)).last
    tensors = {"shared": shared, "new": new, "shared/codes": sae.encode(shared), "new/codes": sae.encode(new)}
    return Message({**head_rows(donor).tensors, **tensors})


class Vector(Reading):
    """The receiver with one vector (or a few) added to its penultimate features."""

    def __init__(
        self, base: nn.Module, name: str, new: list[int], form: Form, parts: dict[str, Tensor]
    ) -> None:
        super().__init__(base, name, new)
        self.form: Form = form
        for key, value in parts.items():
            self.register_buffer(key, value)

    def added(self, h: Tensor) -> Tensor:
        delta, gate, offset = self.get_buffer("delta"), self.get_buffer("gate"), self.get_buffer("offset")
        if self.form == "delta":
            return delta.expand_as(h)
        if self.form == "gate":
            return torch.sigmoid(h @ gate + offset)[:, None] * delta
        if self.form == "rank1":
            return (h @ gate + offset)[:, None] / gate.norm().clamp_min(1e-6) * delta
        return h @ self.get_buffer("read").T @ self.get_buffer("write")

    def answer(self, seen: Acts) -> Tensor:
        if self.form == "bias":
            return put(
                seen.logits, self.classes, seen.logits[:, self.classes] + self.get_buffer("delta").norm()
            )
        return head(self.base, self.name)(seen.last + self.added(seen.last))


@torch.no_grad()
def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    t, sae = message.tensors, dictionary(receiver, options.width)
    mine = receiver.acts(receiver.access.shared(N_SHARED)).last
    old = receiver.acts(receiver.access.old(3000)).last
    turn = rotation(t["shared/codes"], sae.encode(mine), centered=False).weight
    gap = t["new/codes"].mean(0) - t["shared/codes"].mean(0)
    turned = gap @ turn.T
    delta = options.strength * (sae.decode(turned[None]) - sae.decode(torch.zeros_like(turned)[None]))[0]
    top = turned.abs().topk(min(4, len(turned))).indices
    back = ridge(t["shared"], mine, 1e-2)
    gate, offset = fit_gate(old, back(t["new"]), options.sparsity, receiver.generator("gate"))
    forward = ridge(mine, t["shared"], 1e-2)
    row, bias = forward.then_rows(t["head/weight"], t["head/bias"])
    base = set_rows(receiver.model, receiver.head, receiver.new, row, bias)
    linear = sae.stacked()
    parts = {
        "delta": delta,
        "gate": gate,
        "offset": offset,
        "read": linear["W_enc"][0].T[top] / sae.scale,
        "write": options.strength * turned[top, None] * linear["W_dec"][0][top],
    }
    return Vector(base, receiver.head, receiver.new, options.form, parts)


def fit_gate(old: Tensor, new: Tensor, sparsity: float, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """A sigmoid that is shut on the receiver's own features and open on the donor's, mapped over; L1 on its weights."""
    weight, offset = torch.zeros(old.shape[1], requires_grad=True), torch.zeros(1, requires_grad=True)
    solver = torch.optim.Adam([weight, offset], 0.01)
    with torch.enable_grad():
        for _ in range(200):
            a = old[torch.randint(len(old), (64,), generator=draw)] @ weight + offset
            b = new[torch.randint(len(new), (64,), generator=draw)] @ weight + offset
            loss = F.softplus(a).mean() + F.softplus(-b).mean() + sparsity * weight.abs().mean()
            solver.zero_grad()
            loss.backward()
            solver.step()
    return weight.detach(), offset.detach()
