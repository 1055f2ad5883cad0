"""A description that both networks share, and a row written in it: cosines to anchors, a learned map, or a stored vector."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.config import Config, Field
from digsite.graft.core.dictionaries import Sae, SaeSpec, train_saes
from digsite.graft.core.edits import Beside, ReadingGraft, put_logits, read_head_rows, set_rows
from digsite.graft.core.fitting import FitsOnImages, FittingSettings, collect_donor_acts, gather_images
from digsite.graft.core.maps import Affine, fit_ridge, fit_rotation
from digsite.graft.core.methods import GraftMethod
from digsite.graft.core.methods.transplants import send_head_rows
from digsite.graft.core.nets import Acts, collect_acts, find_head
from digsite.graft.core.operate import rebuild_donor
from digsite.graft.core.pair import Message, Side
from digsite.graft.core.tune import draw_perceptron, fit_rows, make_cycle

N_SHARED, N_NEW = 2000, 400  # images of the precomputed vector, as published
Form = Literal["delta", "rank1", "gate", "lowrank", "bias"]


class Relative(GraftMethod):
    """Relative representations: both networks described by cosines to the same anchor images, and a row in those terms."""

    GROUP = "honest"
    STUDIED = ("data=s", "data=u")

    class Settings(Config):
        data: str = Field("s", pattern="^[su]$", description="where the anchors are from, in budget letters")
        n_anchors: int = Field(300, gt=0, description="anchor images")
        n_images: int = Field(500, gt=0, description="donor images per class for its row in anchor terms")

    def declare_budget(self) -> str:
        """The anchors, and the donor's own images."""
        return f"{self.settings.data}b"

    def take_message(self, donor: Side) -> Message:
        """A row that separates the new class in anchor terms, fitted by the donor on its own images."""
        classes = [*donor.pair.shared, *donor.pair.foreign, *donor.new]
        parts = [donor.access.open_donor((c,), self.settings.n_images) for c in classes]
        y = torch.cat([p.y for p in parts])
        anchors = donor.access.open_mixed(self.settings.data, self.settings.n_anchors)
        seen = collect_acts(donor.model, torch.cat([p.x for p in parts]), donor.head)
        base = donor.collect_acts(anchors).last
        scale = ToAnchors(base, base.mean(0), torch.zeros(1, len(base)), torch.zeros(1))
        fit = fit_rows(scale.describe_features(seen.last), seen.logits, y, donor.new)
        return Message({"weight": fit.weight, "bias": fit.bias})

    def apply_message(self, receiver: Side, message: Message) -> nn.Module:
        """The donor's row read off the receiver's own cosines to the same anchors."""
        anchors = receiver.access.open_mixed(self.settings.data, self.settings.n_anchors)
        receiver_acts = receiver.collect_acts(anchors).last
        part = ToAnchors(
            receiver_acts, receiver_acts.mean(0), message.tensors["weight"], message.tensors["bias"]
        )
        return Beside(receiver.model, receiver.head, receiver.new, part, -1)


class ToAnchors(nn.Module):
    """Cosines of features (n, width) to the `anchors` (anchors, width) after `center`, then a linear read-out."""

    anchors: Tensor
    center: Tensor

    def __init__(
        self,
        anchors: Float[Tensor, "anchors width"],
        center: Float[Tensor, "width"],
        weight: Float[Tensor, "new anchors"],
        bias: Float[Tensor, "new"],
    ) -> None:
        super().__init__()
        self.register_buffer("center", center)
        self.register_buffer("anchors", F.normalize(anchors - center, dim=1))
        self.read = nn.Linear(weight.shape[1], weight.shape[0])
        self.read.weight.data, self.read.bias.data = weight, bias

    def describe_features(self, h: Float[Tensor, "n width"]) -> Float[Tensor, "n anchors"]:
        """Cosines to the anchors."""
        return F.normalize(h - self.center, dim=1) @ self.anchors.T

    def forward(self, h: Tensor) -> Tensor:
        return self.read(self.describe_features(h))


class NeuralAlignment(FitsOnImages, GraftMethod):
    """A learned map from the receiver's features into the donor's, read by the donor's own row (framework method 2)."""

    GROUP = "injection"
    STUDIED = (
        "map=linear layers=last",
        "map=linear layers=all",
        "map=mlp layers=last",
        "map=mlp layers=all",
        "map=orthogonal layers=last",
        "map=orthogonal layers=all",
    )

    class Settings(FittingSettings):
        map: Literal["linear", "mlp", "orthogonal"] = Field(
            "linear", description="what is learned between the features"
        )
        layers: Literal["all", "last"] = Field("all", description="receiver features that are read")
        steps: int = Field(400, gt=0, description="gradient steps; none for orthogonal")

    def apply_message(self, receiver: Side, message: Message) -> nn.Module:
        """The map with the donor's row behind it, beside the receiver."""
        images, last = gather_images(self.settings, receiver), self.settings.layers == "last"
        seen, theirs = receiver.collect_acts(images), collect_donor_acts(receiver, message, images).last
        receiver_acts, draw = seen.last if last else seen.everything, receiver.make_generator("map")
        carry = learn_map(self.settings.map, receiver_acts, theirs, self.settings.steps, draw)
        donor_head = receiver.pair.name_heads()[1]
        rows = read_head_rows(rebuild_donor(receiver, message), donor_head, receiver.new)
        part = nn.Sequential(carry, Affine(*rows).to_layer())
        return Beside(receiver.model, receiver.head, receiver.new, part, -1 if last else None)


HIDDEN = {"linear": (), "mlp": (128, 128)}  # hidden layers of the maps that are learned in steps


def learn_map(
    kind: str,
    receiver_acts: Float[Tensor, "n width"],
    theirs: Float[Tensor, "n width_donor"],
    steps: int,
    draw: torch.Generator,
) -> nn.Module:
    """A map of features `receiver_acts` to `theirs`: 'linear', 'mlp' or 'orthogonal' (in closed form).

    Mean squared error with a small weight decay, as the framework has it, in `steps` steps whose batches are of `draw`.
    """
    if kind not in HIDDEN:
        return fit_rotation(receiver_acts, theirs).to_layer()
    center, scale = receiver_acts.mean(0), receiver_acts.std(0) + 0.1 * receiver_acts.std()
    net = draw_perceptron(receiver_acts.shape[1], *HIDDEN[kind], theirs.shape[1], draw=draw)
    # Not by the trainer: a single map, which has nothing to be stacked with.
    solver = torch.optim.Adam(net.parameters(), 2e-3, weight_decay=1e-5, fused=True)
    cycle = make_cycle(solver, 2e-3, steps)
    z = (receiver_acts - center) / scale
    with torch.enable_grad():
        for _ in range(steps):
            pick = torch.randint(len(z), (128,), generator=draw)
            solver.zero_grad(set_to_none=True)
            F.mse_loss(net(z[pick]), theirs[pick]).backward()
            solver.step()
            cycle.step()
    first = net[0]
    assert isinstance(first, nn.Linear), first
    with torch.no_grad():  # from standardized features to features as they are
        first.weight.div_(scale)
        first.bias.sub_(first.weight @ center)
    return net.requires_grad_(False)


class PrecomputedAlignment(GraftMethod):
    """A concept vector computed before, put into the penultimate layer in one of five forms (framework method 1)."""

    GROUP = "injection"
    STUDIED = (
        "form=gate width=32 sparsity=0.03",
        "form=gate width=32 sparsity=0.05",
        "form=gate width=32 sparsity=0.08",
        "form=gate width=48 sparsity=0.03",
        "form=gate width=48 sparsity=0.05",
        "form=gate width=48 sparsity=0.08",
        "form=gate width=64 sparsity=0.03",
        "form=gate width=64 sparsity=0.05",
        "form=gate width=64 sparsity=0.08",
        "form=delta width=48 sparsity=0.05",
        "form=rank1 width=48 sparsity=0.05",
        "form=lowrank width=48 sparsity=0.05",
        "form=bias width=48 sparsity=0.05",
    )

    class Settings(Config):
        form: Form = Field(
            "gate",
            description="stored delta on every input; rank-one update; delta behind a sigmoid gate; low-rank update; "
            "a constant on the new logit",
        )
        width: int = Field(48, gt=0, description="codes of each network's dictionary")
        sparsity: float = Field(0.05, gt=0, description="L1 penalty on the gate's weights")
        strength: float = Field(0.4, gt=0, description="factor on what is injected")

    def declare_budget(self) -> str:
        """Shared images for the dictionaries, old ones to shut the gate on, the donor's own to open it."""
        return "sab"

    @torch.no_grad()
    def take_message(self, donor: Side) -> Message:
        """The donor's codes and features of shared and of its own new-class images, and its row."""
        sae = train_dictionary(donor, self.settings.width)
        shared = donor.collect_acts(donor.access.open_shared(N_SHARED)).last
        new = donor.collect_acts(donor.access.open_donor(donor.pair.new, N_NEW)).last
        codes = {"shared/codes": sae.encode(shared), "new/codes": sae.encode(new)}
        return Message({**send_head_rows(donor).tensors, "shared": shared, "new": new, **codes})

    @torch.no_grad()
    def apply_message(self, receiver: Side, message: Message) -> nn.Module:
        """The receiver with the rotated concept vector in its penultimate layer, and the donor's row carried over."""
        t, sae = message.tensors, train_dictionary(receiver, self.settings.width)
        receiver_acts = receiver.collect_acts(receiver.access.open_shared(N_SHARED)).last
        old = receiver.collect_acts(receiver.access.open_old(3000)).last
        turn = fit_rotation(t["shared/codes"], sae.encode(receiver_acts), centered=False).weight
        turned = (t["new/codes"].mean(0) - t["shared/codes"].mean(0)) @ turn.T
        delta = self.settings.strength * (
            sae.decode(turned[None]) - sae.decode(torch.zeros_like(turned)[None])
        )
        top = turned.abs().topk(min(4, len(turned))).indices
        mapped = fit_ridge(t["shared"], receiver_acts, 1e-2)(t["new"])
        gate, offset = fit_gate(old, mapped, self.settings.sparsity, receiver.make_generator("gate"))
        forward = fit_ridge(receiver_acts, t["shared"], 1e-2)
        row, bias = forward.carry_rows(t["head/weight"], t["head/bias"])
        base = set_rows(receiver.model, receiver.head, receiver.new, row, bias)
        linear = sae.stack_parameters()
        parts = {
            "delta": delta[0],
            "gate": gate,
            "offset": offset,
            "read": linear["W_enc"][0].T[top] / sae.scale,
            "write": self.settings.strength * turned[top, None] * linear["W_dec"][0][top],
        }
        return WithVector(base, receiver.head, receiver.new, self.settings.form, parts)


class WithVector(ReadingGraft):
    """The receiver with one vector (or a few) added to its penultimate features, in one of five forms."""

    def __init__(
        self, base: nn.Module, name: str, new: list[int], form: Form, parts: dict[str, Tensor]
    ) -> None:
        super().__init__(base, name, new)
        self.form: Form = form
        for key, value in parts.items():
            self.register_buffer(key, value)

    def added_features(self, h: Float[Tensor, "n width"]) -> Float[Tensor, "n width"]:
        """What is added to the penultimate features `h`."""
        delta, gate, offset = self.get_buffer("delta"), self.get_buffer("gate"), self.get_buffer("offset")
        if self.form == "delta":
            return delta.expand_as(h)
        if self.form == "gate":
            return torch.sigmoid(h @ gate + offset)[:, None] * delta
        if self.form == "rank1":
            return (h @ gate + offset)[:, None] / gate.norm().clamp_min(1e-6) * delta
        return h @ self.get_buffer("read").T @ self.get_buffer("write")

    def answer_seen(self, seen: Acts) -> Float[Tensor, "n classes"]:
        """The head on the changed features; with 'bias' the receiver's logits and a constant on the new ones."""
        if self.form == "bias":
            raised = seen.logits[:, self.classes] + self.get_buffer("delta").norm()
            return put_logits(seen.logits, self.classes, raised)
        return find_head(self.base, self.name)(seen.last + self.added_features(seen.last))


def train_dictionary(side: Side, width: int) -> Sae:
    """An L1 dictionary of `width` codes on this side's features of the shared images, once for all who ask."""
    images = side.access.open_shared(N_SHARED)

    def train_once() -> Sae:
        spec = SaeSpec("l1", width, 0.05, side.derive_seed("dictionary"))
        return train_saes(side.collect_acts(images).last, [spec], seed=side.seed)[0]

    return side.access.lens.compute_once(side.model, ("l1", width, images.key), train_once)


def fit_gate(
    old: Float[Tensor, "n width"], new: Float[Tensor, "m width"], sparsity: float, draw: torch.Generator
) -> tuple[Float[Tensor, "width"], Float[Tensor, "1"]]:
    """Weights and offset of a sigmoid that is shut on features `old` and open on `new`; L1 of `sparsity` on its weights."""
    weight, offset = torch.zeros(old.shape[1], requires_grad=True), torch.zeros(1, requires_grad=True)
    # Not by the trainer: one gate, which sees a batch of each side in every step.
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
