"""What a graft leaves behind: an edited copy of the receiver, the receiver with one more part beside it, or two transformers in one."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.graft.core.nets import (
    Acts,
    Composite,
    find_head,
    make_plain_net,
    read_matrices,
    record_acts,
    shape_images,
)


def copy_model(model: nn.Module) -> nn.Module:
    """A deep copy in evaluation mode: what comes out of a graft shares nothing with what went in."""
    return deepcopy(model).eval()


def widen_head(model: nn.Module, name: str, classes: list[int]) -> nn.Module:
    """The model itself where its head has a row for every one of `classes`, else a copy with more of them.

    New rows have no weights and a bias of -10,000, so that a class nobody has learned is never answered. `name`: of the head.
    """
    old = find_head(model, name)
    missing = max(classes) + 1 - old.out_features
    if missing <= 0:
        return model
    copy = copy_model(model)
    wide = nn.Linear(old.in_features, old.out_features + missing).to(old.weight)
    wide.weight.data = torch.cat([old.weight.data, old.weight.new_zeros(missing, old.in_features)])
    bias = old.weight.new_zeros(old.out_features) if old.bias is None else old.bias.data
    wide.bias.data = torch.cat([bias, bias.new_full((missing,), -1e4)])
    parent, _, leaf = name.rpartition(".")
    setattr(copy.get_submodule(parent), leaf, wide)
    return copy


@torch.no_grad()
def set_rows(model: nn.Module, name: str, classes: list[int], rows: Tensor, biases: Tensor) -> nn.Module:
    """A copy of the model with `rows` (classes, width) and `biases` (classes,) for these classes in its head called `name`."""
    copy = copy_model(widen_head(model, name, classes))
    last = find_head(copy, name)
    last.weight[classes] = rows.to(last.weight)
    last.bias[classes] = biases.to(last.bias)
    return copy


def read_head_rows(model: nn.Module, name: str, classes: list[int]) -> tuple[Tensor, Tensor]:
    """Rows (classes, width) and biases (classes,) of the head called `name` for these classes, as copies."""
    last = find_head(model, name)
    bias = torch.zeros(last.out_features) if last.bias is None else last.bias.detach()
    return last.weight.detach()[classes].clone(), bias[classes].clone()


class ReadingGraft(Composite):
    """The receiver as it was, and logits worked out from what flows through it.

    Whoever scores many of these runs the receiver once and asks each for its `answer`.
    """

    def __init__(self, base: nn.Module, name: str, classes: list[int]) -> None:
        super().__init__()
        self.base, self.name, self.classes = widen_head(base, name, classes), name, classes

    def new_logits(self, seen: Acts) -> Tensor:
        """The new logits."""
        raise NotImplementedError

    def answer_seen(self, seen: Acts) -> Tensor:
        """All logits (n, outputs) from what flows through the receiver."""
        return put_logits(seen.logits, self.classes, self.new_logits(seen))

    def forward(self, x: Tensor) -> Tensor:
        """The receiver's logits with the new class's from what its own layer shows."""
        return self.answer_seen(record_acts(self.base, x, self.name))


class Beside(ReadingGraft):
    """New logits from a second network that reads one layer of the receiver, or all of them."""

    def __init__(
        self, base: nn.Module, name: str, classes: list[int], part: nn.Module, layer: int | None = None
    ) -> None:
        super().__init__(base, name, classes)
        self.part, self.layer = part, layer

    def new_logits(self, seen: Acts) -> Tensor:
        """What the second network makes of the layer that it reads."""
        return self.part(seen.everything if self.layer is None else seen.hidden[self.layer])


class Shifted(Composite):
    """A constant on the new logits: the separate, declared calibration."""

    def __init__(self, base: nn.Module, classes: list[int], shift: float) -> None:
        super().__init__()
        self.base, self.classes, self.shift = base, classes, shift

    def forward(self, x: Tensor) -> Tensor:
        """A constant on some logits."""
        logits = self.base(shape_images(self.base, x))
        return put_logits(logits, self.classes, logits[:, self.classes] + self.shift)


def put_logits(logits: Tensor, classes: list[int], values: Tensor) -> Tensor:
    """`logits` (n, outputs) with the columns of `classes` replaced by `values` (n, classes); the input stays as it was."""
    out = logits.clone()
    out[:, classes] = values
    return out


def join_networks(a: nn.Module, b: nn.Module, classes: list[int]) -> nn.Sequential:
    """One ReLU network that holds `a` and `b`: block-diagonal layers, the shallower one carried on by identities.

    The logits of `classes` are those of `b`, all others those of `a`. Both must be plain ReLU networks.
    """
    (wa, ba), (wb, bb) = read_matrices(a), read_matrices(b)
    depth = max(len(wa), len(wb))
    wa, ba = _deepen_chain(wa, ba, depth)
    wb, bb = _deepen_chain(wb, bb, depth)
    out = max(len(wa[-1]), max(classes) + 1)
    top = wa[0].new_zeros(out, wa[-1].shape[1] + wb[-1].shape[1])
    top[: len(wa[-1]), : wa[-1].shape[1]] = wa[-1]
    bias = wa[0].new_full((out,), -1e4)
    bias[: len(ba[-1])] = ba[-1]
    top[classes] = 0
    top[classes, wa[-1].shape[1] :] = wb[-1][classes]
    bias[classes] = bb[-1][classes]
    first = [torch.cat([wa[0], wb[0]])]
    middle = [torch.block_diag(p, q) for p, q in zip(wa[1:-1], wb[1:-1])]
    return make_plain_net([*first, *middle, top], [*(torch.cat(p) for p in zip(ba[:-1], bb[:-1])), bias])


def _deepen_chain(
    weights: list[Tensor], biases: list[Tensor], depth: int
) -> tuple[list[Tensor], list[Tensor]]:
    """Identity layers before the head: what ReLU has made non-negative passes through unchanged."""
    missing, width = depth - len(weights), weights[-1].shape[1]
    eye = [torch.eye(width).to(weights[0])] * missing
    zero = [weights[0].new_zeros(width)] * missing
    return [*weights[:-1], *eye, weights[-1]], [*biases[:-1], *zero, biases[-1]]


@dataclass(frozen=True)
class UnitedTransformer:
    """`state`: weights by name. `moved`: where each of the donor's matrices lies in it, as name, rows and columns.
    `fitted`: rows and columns, by name, that a reader takes up."""

    state: dict[str, Tensor]
    moved: dict[str, tuple[str, slice, slice]]
    fitted: dict[str, tuple[slice, slice]]


def unite_transformers(
    receiver: Mapping[str, Tensor],
    donor: Mapping[str, Tensor],
    key_size: int,
    *,
    at: int = 0,
    reader: Float[Tensor, "theirs own"] | None = None,
) -> UnitedTransformer:
    """Two transformers without norms and biases in one: streams, heads, neurons and outputs of both side by side.

    Weights have the names of compiled programs (`embed`, `pos`, `blocks.i.attn.q`, `unembed`, ...), heads are of `key_size`.
    The donor's first block comes to the receiver's block `at`. Without a `reader` the donor's embedding moves along. With
    one nothing of it does: in the block before, neurons write what the reader says of the receiver's stream into the
    donor's directions, and the donor's blocks go on from there.
    """
    check_unitable(receiver, donor, key_size, at, reader is not None)
    own, theirs = (s["embed.weight"].shape[1] for s in (receiver, donor))
    inner = {
        part: len(donor[f"blocks.0.{name}.weight"]) for part, name in (("attn", "attn.q"), ("mlp", "mlp.in"))
    }
    inner["mlp"] = max(inner["mlp"], 0 if reader is None else 2 * theirs)
    state: dict[str, Tensor] = {}
    moved: dict[str, tuple[str, slice, slice]] = {}
    for name, weight in receiver.items():
        words, (rows, columns) = name.split("."), weight.shape
        shared = words[0] in ("embed", "pos")  # a token, or a position, has one row for both
        if words[0] == "blocks":
            more, writes = inner[words[2]], words[3] in ("o", "out")
            wide = weight.new_zeros(
                own + theirs if writes else rows + more, columns + more if writes else own + theirs
            )
        else:
            wide = weight.new_zeros(rows if shared else rows + len(donor[name]), own + theirs)
        wide[:rows, :columns] = weight
        state[name] = wide
        source = ".".join(["blocks", str(int(words[1]) - at), *words[2:]]) if words[0] == "blocks" else name
        if source in donor and not (shared and reader is not None):
            part, top = donor[source], 0 if shared else rows
            where = slice(top, top + part.shape[0]), slice(columns, columns + part.shape[1])
            wide[where] = part
            moved[source] = (name, *where)
    fitted = {} if reader is None else _write_reader(state, receiver, reader, at - 1)
    return UnitedTransformer(state, moved, fitted)


def _write_reader(
    state: dict[str, Tensor], receiver: Mapping[str, Tensor], reader: Float[Tensor, "theirs own"], block: int
) -> dict[str, tuple[slice, slice]]:
    """Neurons of one block that write what the reader says into the donor's directions, in place: x = relu(x) - relu(-x)."""
    theirs, own = reader.shape
    into, out = (f"blocks.{block}.mlp.{side}.weight" for side in ("in", "out"))
    neurons = slice(len(receiver[into]), len(receiver[into]) + 2 * theirs)
    state[into][neurons, :own] = torch.cat([reader, -reader])
    state[out][own:, neurons] = torch.cat([torch.eye(theirs), -torch.eye(theirs)], 1)
    return {into: (neurons, slice(own)), out: (slice(own, own + theirs), neurons)}


def check_unitable(
    receiver: Mapping[str, Tensor], donor: Mapping[str, Tensor], key_size: int, at: int, reads: bool
) -> None:
    """One sentence where two transformers have no common tokens, positions or head size, or the donor is too deep for its place."""
    for name, what in (("embed.weight", "tokens"), ("pos.weight", "positions")):
        if len(receiver[name]) != len(donor[name]):
            raise UsageError(
                f"The receiver has {len(receiver[name])} {what} and the donor {len(donor[name])}; both need the same."
            )
    own, theirs = (len({n.split(".")[1] for n in s if n.startswith("blocks.")}) for s in (receiver, donor))
    if own < at + theirs or at < int(reads):
        raise UsageError(
            f"A donor of {theirs} blocks does not fit at block {at} of a receiver of {own}"
            + (", where its reader needs the block before." if reads else "."),
            hint="Give a deeper receiver or another block.",
        )
    if any(s["blocks.0.attn.q.weight"].shape[0] % key_size for s in (receiver, donor)):
        raise UsageError(
            f"Both transformers need heads of {key_size} rows; another size would rescale the donor's scores."
        )
