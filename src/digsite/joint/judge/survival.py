"""Grafts looked at: taken out again and compared, pruned and quantized, and a program's step answered for, entry by entry."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.decompose.subjects.compiled import CompiledProgram, CompiledTransformer
from digsite.graft.core.edits import (
    ReadingGraft,
    Shifted,
    UnitedTransformer,
    copy_model,
    unite_transformers,
    widen_head,
)
from digsite.graft.core.nets import find_head, find_head_name, has_same_shape, list_layers, predict_logits
from digsite.prune import prune_matrix


def removed(model: nn.Module, new: list[int]) -> nn.Module:
    """The graft taken out: an added part is dropped, a head row is silenced; moved weights stay moved."""
    if isinstance(model, Shifted | ReadingGraft):
        return removed(model.base, new)
    name = find_head_name(model)
    copy = copy_model(widen_head(model, name, new))
    last = find_head(copy, name)
    last.weight.data[new], last.bias.data[new] = 0.0, -1e4
    return copy


@dataclass(frozen=True)
class Difference:
    """How far a network is from another one of its shape."""

    agreement: float  # percent of inputs called alike
    logit_distance: float  # root mean square over the compared classes
    weight_distance: float  # relative, all layers but the head


@torch.no_grad()
def compare(a: nn.Module, b: nn.Module, x: Tensor, classes: list[int]) -> Difference:
    out_a, out_b = predict_logits(a, x), predict_logits(b, x)
    same = (out_a.argmax(1) == out_b.argmax(1)).float().mean()
    gap = (out_a[:, classes] - out_b[:, classes]).square().mean().sqrt()
    return Difference(100 * float(same), float(gap), _weight_distance(a, b))


def _weight_distance(a: nn.Module, b: nn.Module) -> float:
    """Not a number between networks of two shapes."""
    if not has_same_shape(a, b):
        return float("nan")
    pairs = list(zip(list_layers(a).values(), list_layers(b).values()))[:-1]
    moved = torch.stack([(p.weight - q.weight).square().sum() for p, q in pairs]).sum()
    size = torch.stack([p.weight.square().sum() for p, _ in pairs]).sum()
    return float((moved / size).sqrt())


@torch.no_grad()
def pruned(model: nn.Module, share: float) -> nn.Module:
    """The `share` smallest weights of each layer but the head set to zero, by the prune room's own magnitude."""
    copy = copy_model(model)
    if not share:
        return copy
    for name, layer in list(list_layers(copy).items())[:-1]:
        flat = layer.weight.flatten(1)
        layer.weight.copy_(
            prune_matrix(flat, None, "magnitude", share, name=name).weight.view_as(layer.weight)
        )
    return copy


@torch.no_grad()
def quantized(model: nn.Module, bits: int) -> nn.Module:
    """Weights rounded to `bits` bits, one scale per row (symmetric)."""
    copy = copy_model(model)
    steps = 2 ** (bits - 1) - 1
    for layer in list_layers(copy).values():
        flat = layer.weight.flatten(1)
        scale = flat.abs().amax(1, keepdim=True).clamp_min(1e-12) / steps
        layer.weight.copy_(((flat / scale).round() * scale).reshape(layer.weight.shape))
    return copy


# A compiled program's step in a network that was trained on something else.

WAYS = {"whole": "with its embedding", "step": "its blocks alone, reading what the receiver holds"}
TOLERANCE = 0.01  # of a number that is an answer, less than half of the gap between any two
RIDGE = 1e-9  # of a fitted reader, relative to the mean square of what it reads


def build_transformer(shapes: Mapping[str, tuple[int, ...]], key_size: int) -> CompiledTransformer:
    """A network with a compiled program's forward pass, from the shapes of its weights by name."""
    depth = 1 + max(int(name.split(".")[1]) for name in shapes if name.startswith("blocks."))
    known = {
        "matrices": {name: {"shape": list(shape)} for name, shape in shapes.items()},
        "width": shapes["embed.weight"][1],
        "heads": shapes["blocks.0.attn.q.weight"][0] // key_size,
        "key_size": key_size,
        "layers": depth,
    }
    return CompiledTransformer(known)


def fit_reader(
    x: Float[Tensor, "... own"], wanted: Float[Tensor, "... theirs"]
) -> Float[Tensor, "theirs own"]:
    """The linear map that makes `wanted` of `x` by least squares, in double precision."""
    x, wanted = x.flatten(0, -2).double(), wanted.flatten(0, -2).double()
    gram = x.T @ x
    gram += RIDGE * gram.diag().mean() * torch.eye(len(gram), dtype=gram.dtype)
    return torch.linalg.solve(gram, x.T @ wanted).T.float()


def shuffle_donor(donor: Mapping[str, Tensor], draw: torch.Generator) -> dict[str, Tensor]:
    """A null: the program's own numbers at other places of their matrices; what is read out in the end stays."""
    return {
        name: w
        if name.startswith("unembed")
        else w.flatten()[torch.randperm(w.numel(), generator=draw)].view_as(w)
        for name, w in donor.items()
    }


def redraw_donor(donor: Mapping[str, Tensor], draw: torch.Generator) -> dict[str, Tensor]:
    """A null: random numbers of each matrix's spread; what is read out in the end stays."""
    return {
        name: w if name.startswith("unembed") else w.std() * torch.randn(w.shape, generator=draw)
        for name, w in donor.items()
    }


class ProgramBench:
    """A program and a trained receiver with its tokens. Readers are fitted on the inputs `seen`, answers counted on `held`."""

    def __init__(
        self,
        program: CompiledProgram,
        receiver: CompiledTransformer,
        seen: Int[Tensor, "n t"],
        held: Int[Tensor, "m t"],
    ) -> None:
        self.program, self.receiver, self.seen, self.held = program, receiver, seen, held
        self.state = {name: w.detach() for name, w in receiver.state_dict().items()}

    def score_old(self) -> float:
        """Percent of the receiver's own answers that are right: the symbol before each one."""
        said = self.receiver(self.held).argmax(-1)
        return 100 * float((said[:, 1:] == self.held[:, :-1]).float().mean())

    def unite(self, donor: Mapping[str, Tensor], way: str) -> UnitedTransformer:
        """The donor in the receiver: `whole` beside it from the first block on, or as a `step` that reads its stream."""
        if way not in WAYS:
            raise UsageError(f"There is no way '{way}' to graft a program; accepted are {', '.join(WAYS)}.")
        key = self.program.truth["key_size"]
        if way == "whole":
            return unite_transformers(self.state, donor, key)
        first, ids = self.receiver.blocks[0], self.seen
        x = self.receiver.embed(ids) + self.receiver.pos.weight[: ids.shape[1]]
        wanted = donor["embed.weight"][ids] + donor["pos.weight"][: ids.shape[1]]
        reader = fit_reader(x + first.get_submodule("attn")(x), wanted)
        return unite_transformers(self.state, donor, key, at=1, reader=reader)

    @torch.no_grad()
    def score(self, donor: Mapping[str, Tensor], way: str) -> dict[str, float]:
        """Percent of the program's answers that the graft gives, as it is and through a fitted reader of its whole stream;
        what became of the receiver's own; and the ledger: entries moved, added, fitted, bytes."""
        united = self.unite(donor, way)
        model = build_transformer(
            {k: tuple(w.shape) for k, w in united.state.items()}, self.program.truth["key_size"]
        )
        model.load_state_dict(united.state)
        before, after = self.receiver(self.held), model(self.held)
        own = before.shape[-1]
        same = (after[..., :own].argmax(-1) == before.argmax(-1))[:, 1:]
        return {
            "right": self._count_right(after[..., own:]),
            "refitted": self.refit(model),
            "kept": 100 * float(same.float().mean()),
            "largest change": float((after[..., :own] - before).abs().max()),
            **self.account(united, donor),
        }

    def account(self, united: UnitedTransformer, donor: Mapping[str, Tensor]) -> dict[str, float]:
        """The ledger, read from the weights: what came from where, and whether each entry is what it should be."""
        rest, differing = {name: w.clone() for name, w in united.state.items()}, 0
        for name, weight in self.state.items():
            here = rest[name][: weight.shape[0], : weight.shape[1]]
            differing += int((here != weight).sum())
            here.zero_()
        moved = {source: donor[source] for source in united.moved}
        for source, (name, *where) in united.moved.items():
            differing += int((united.state[name][tuple(where)] != donor[source]).sum())
            rest[name][tuple(where)] = 0.0
        for name, where in united.fitted.items():
            rest[name][where] = 0.0
        return {
            "moved entries": sum(int(w.count_nonzero()) for w in moved.values()),
            "bytes": sum(w.numel() * w.element_size() for w in moved.values()),
            "fitted": sum(united.state[n][where].numel() for n, where in list(united.fitted.items())[:1])
            // 2,
            "added": sum(w.numel() for w in united.state.values())
            - sum(w.numel() for w in self.state.values()),
            "differing": differing,
            "stray": sum(int(w.count_nonzero()) for w in rest.values()),
        }

    @torch.no_grad()
    def refit(self, model: CompiledTransformer) -> float:
        """Percent of the program's answers that a linear reader of the model's last stream gives, fitted on the seen half."""
        reader = fit_reader(_run_stream(model, self.seen), self.program.wanted(self.seen))
        return self._count_right(_run_stream(model, self.held) @ reader.T)

    def _count_right(self, said: Float[Tensor, "m t out"]) -> float:
        """Percent of the positions with an answer at which it is given."""
        said, wanted = said[:, 1:], self.program.wanted(self.held)[:, 1:]
        if self.program.truth["output"]["kind"] == "categorical":
            decided = wanted.amax(-1) > 0.5
            return 100 * float((said.argmax(-1) == wanted.argmax(-1))[decided].float().mean())
        return 100 * float(((said - wanted).abs() < TOLERANCE).float().mean())


def _run_stream(model: CompiledTransformer, ids: Int[Tensor, "n t"]) -> Float[Tensor, "n t width"]:
    """What stands in the stream after the last block."""
    x = model.embed(ids) + model.pos.weight[: ids.shape[1]]
    for block in model.blocks:
        x = block(x)
    return x
