"""Bring one Llama into another's basis: match what both compute on the same tokens, part by part.

The stream first, from what both carry after every block; then in each layer groups of heads and heads inside them by what
they write into the (matched) stream, the value spaces and rotary planes inside a head, and the neurons of the MLP by when
they fire. Every step is an assignment, a transport or a Procrustes problem and is solved exactly; no gradient is taken.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from digsite.base.errors import UsageError, name_nearest
from digsite.graft.core.llama_symmetries import (
    EMBEDDING,
    HEAD,
    LayerSymmetry,
    LlamaShape,
    State,
    Symmetry,
    apply_symmetry,
    identity_symmetry,
    rotary_places,
    turn_matrices,
)
from digsite.graft.core.maps import assign_units, correlate_units, transport_units
from digsite.graft.core.merges import BY_TOKEN, check_alike


@dataclass
class SeenLlama:
    """What a model computes on some tokens: the stream after every block, and per layer what goes into o and down and
    what q, k and v say; all (tokens, width)."""

    stream: list[Tensor] = field(default_factory=list)
    mixed: list[Tensor] = field(default_factory=list)
    fired: list[Tensor] = field(default_factory=list)
    said: dict[str, list[Tensor]] = field(default_factory=lambda: {"q": [], "k": [], "v": []})


@torch.no_grad()
def watch_llama(model: nn.Module, rows: Int[Tensor, "n length"]) -> SeenLlama:
    """Run the model once and keep what matching needs."""
    seen, inner, handles = SeenLlama(), model.get_submodule("model"), []

    def keep(into: list[Tensor]) -> Callable[..., None]:
        return lambda _m, _a, out: into.append(
            (out if isinstance(out, Tensor) else out[0]).flatten(0, -2).float()
        )

    def keep_input(into: list[Tensor]) -> Callable[..., None]:
        return lambda _m, args: into.append(args[0].flatten(0, -2).float())

    handles.append(inner.get_submodule("embed_tokens").register_forward_hook(keep(seen.stream)))
    layers: Any = inner.get_submodule("layers")
    for layer in layers:
        handles.append(layer.register_forward_hook(keep(seen.stream)))
        handles.append(layer.self_attn.o_proj.register_forward_pre_hook(keep_input(seen.mixed)))
        handles.append(layer.mlp.down_proj.register_forward_pre_hook(keep_input(seen.fired)))
        handles += [
            getattr(layer.self_attn, f"{name}_proj").register_forward_hook(keep(into))
            for name, into in seen.said.items()
        ]
    try:
        model(rows)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def match_llamas(
    target: SeenLlama,
    theirs: SeenLlama,
    weights: State,
    shape: LlamaShape,
    other: State,
    kind: str = "rotation",
) -> Symmetry:
    """The symmetry that brings the other model (`theirs`, `other`) nearest to the first one (`target`, `weights`).

    `kind` is 'rotation' (stream and value spaces turned freely; weights must be folded) or 'permutation'.
    """
    stream = KINDS[kind].match_bases(_stack_streams(target.stream), _stack_streams(theirs.stream))
    start = identity_symmetry(shape, len(stream), target.fired[0].shape[1])
    layers = tuple(
        _match_layer(i, target, theirs, weights, other, shape, stream, KINDS[kind])
        for i in range(shape.n_layers)
    )
    assert len(layers) == len(start.layers)
    return Symmetry(stream, layers)


def _stack_streams(stream: list[Tensor]) -> Tensor:
    """All blocks' streams as one set of samples, every token at length one, as the norms see it."""
    return torch.cat([x / x.norm(dim=1, keepdim=True).clamp_min(1e-9) for x in stream])


def _turn_basis(target: Float[Tensor, "n d"], theirs: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    """Q with theirs @ Q nearest to mine among rotations: Procrustes."""
    u, _, v = torch.linalg.svd(theirs.T @ target)
    return u @ v


def _permute_basis(target: Float[Tensor, "n d"], theirs: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    """Q with theirs @ Q nearest to mine among permutations."""
    order = assign_units(correlate_units(target, theirs))
    return torch.eye(len(order))[order].T


class Freedom(NamedTuple):
    """What may be done to a model without changing what it computes: how bases are matched, and whether keys may turn."""

    match_bases: Callable[[Tensor, Tensor], Tensor]
    turns_keys: bool


KINDS = {"rotation": Freedom(_turn_basis, True), "permutation": Freedom(_permute_basis, False)}


def _match_layer(
    i: int,
    target: SeenLlama,
    theirs: SeenLlama,
    weights: State,
    other: State,
    shape: LlamaShape,
    stream: Tensor,
    freedom: Freedom,
) -> LayerSymmetry:
    """The symmetry of layer `i`, given the stream's: groups and heads by what they write, then values, turns and neurons.

    Groups are paired by the summed likeness of their best-paired heads, so an order of heads inside every pair of groups is
    solved first: with 2 groups of 2 heads that is 4 problems of size 2, and one more for the groups themselves.
    """
    kv, per, size = shape.n_kv_heads, shape.per_group, shape.d_head
    name = f"model.layers.{i}.self_attn.o_proj.weight"
    writes = _head_writes(target.mixed[i], weights[name], shape)
    comes = _head_writes(theirs.mixed[i], stream.T @ other[name], shape)
    flat = correlate_units(writes.flatten(0, 1).flatten(1).T, comes.flatten(0, 1).flatten(1).T).view(
        kv, per, kv, per
    )
    inside = [[assign_units(flat[a, :, b]) for b in range(kv)] for a in range(kv)]
    score = torch.tensor(
        [[float(flat[a, torch.arange(per), b, inside[a][b]].sum()) for b in range(kv)] for a in range(kv)]
    )
    groups = assign_units(score)
    heads = torch.stack([inside[a][int(groups[a])] for a in range(kv)])
    v_mine, v_theirs = (s.said["v"][i].view(-1, kv, size) for s in (target, theirs))
    k_mine, k_theirs = (s.said["k"][i].view(-1, kv, size) for s in (target, theirs))
    values = torch.stack(
        [freedom.match_bases(v_mine[:, a], v_theirs[:, int(groups[a])]).T for a in range(kv)]
    )
    turns = torch.stack([_match_angles(k_mine[:, a], k_theirs[:, int(groups[a])], shape) for a in range(kv)])
    neurons = assign_units(correlate_units(target.fired[i], theirs.fired[i]))
    return LayerSymmetry(
        groups, heads, values, turns if freedom.turns_keys else torch.zeros_like(turns), neurons
    )


def _head_writes(mixed: Tensor, out: Tensor, shape: LlamaShape) -> Float[Tensor, "kv per n width"]:
    """What every head adds to the stream, token by token."""
    heads = mixed.view(len(mixed), shape.n_kv_heads, shape.per_group, shape.d_head)
    columns = out.view(out.shape[0], shape.n_kv_heads, shape.per_group, shape.d_head)
    return torch.einsum("ngps,wgps->gpnw", heads, columns)


def _match_angles(
    target: Float[Tensor, "n size"], theirs: Float[Tensor, "n size"], shape: LlamaShape
) -> Float[Tensor, "half"]:
    """By how much each rotary plane of their keys must be turned to lie on mine."""
    first, second = rotary_places(shape)
    a, b = (torch.complex(x[:, first], x[:, second]) for x in (target, theirs))
    return torch.angle((a * b.conj()).sum(0))


def rebase_llama(
    model: nn.Module,
    other: nn.Module,
    rows: Int[Tensor, "n length"],
    shape: LlamaShape,
    kind: str = "rotation",
    other_rows: Int[Tensor, "m other_length"] | None = None,
) -> tuple[State, State, Symmetry]:
    """Weights of the first model, of the other one in the first one's basis, and the symmetry between them.

    For rotations both models must have their norms folded already (load `folded` weights into untied modules). `other_rows`:
    the same words in the other model's tokens, where its vocabulary is another one; then words that both have are taken.
    """
    if kind not in KINDS:
        raise UsageError(f"There is no way to match called '{kind}'. {name_nearest(kind, KINDS)}")
    target, theirs = (dict(m.state_dict()) for m in (model, other))
    if other_rows is None:
        check_alike([target, theirs], "two models")
        other_rows = rows
    else:
        shared = [{n: w for n, w in state.items() if not n.endswith(BY_TOKEN)} for state in (target, theirs)]
        check_alike(shared, "two models")
    if other_rows.shape != rows.shape:
        raise UsageError(
            f"The same words are {tuple(rows.shape)} tokens of the one model and {tuple(other_rows.shape)} of the other.",
            hint="Take text that both vocabularies split alike, token by token.",
        )
    symmetry = match_llamas(
        watch_llama(model, rows), watch_llama(other, other_rows), target, shape, theirs, kind
    )
    return target, apply_symmetry(theirs, symmetry, shape), symmetry


# Llamas of two widths: the stream is rotated or shared out, neurons and groups of heads share out their mass.


@dataclass(frozen=True)
class LayerPlan:
    """Shares of mass of groups and of neurons, and for every pair of groups how the other one's heads are ordered and turned."""

    groups: Float[Tensor, "kv their_kv"]
    heads: Int[Tensor, "kv their_kv per_group"]
    values: Float[Tensor, "kv their_kv size size"]
    turns: Float[Tensor, "kv their_kv half"]
    neurons: Float[Tensor, "mlp their_mlp"]


@dataclass(frozen=True)
class WidthPlan:
    """`gather` takes the other model's stream x to gather @ x, `spread` back; with the layers' plans between."""

    gather: Float[Tensor, "width their_width"]
    spread: Float[Tensor, "their_width width"]
    layers: tuple[LayerPlan, ...]


def plan_widths(
    target: SeenLlama,
    theirs: SeenLlama,
    weights: State,
    other: State,
    shape: LlamaShape,
    other_shape: LlamaShape,
    kind: str = "rotation",
) -> WidthPlan:
    """How the other model (`theirs`, `other`, `other_shape`) comes into the widths of the first one, from the same tokens.

    `kind`: 'rotation' maps the stream by the nearest rotation into, or out of, more dimensions; 'transport' shares its units out
    like neurons. Depth, the size of a head and the queries of a group must agree; stream, neurons and groups need not.
    """
    for name, called in (
        ("n_layers", "blocks"),
        ("d_head", "places in a head"),
        ("per_group", "queries in a group"),
    ):
        ours, others = getattr(shape, name), getattr(other_shape, name)
        if ours != others:
            raise UsageError(
                f"A Llama with {others} {called} cannot be carried into one with {ours}: only widths may differ."
            )
    if kind not in STREAMS:
        raise UsageError(f"There is no way to carry a stream called '{kind}'. {name_nearest(kind, STREAMS)}")
    gather, spread = STREAMS[kind](_stack_streams(target.stream), _stack_streams(theirs.stream))
    args = (target, theirs, weights, other, shape, other_shape, gather)
    return WidthPlan(gather, spread, tuple(_plan_layer(i, *args) for i in range(shape.n_layers)))


def _rotate_widths(target: Float[Tensor, "n d"], theirs: Float[Tensor, "n e"]) -> tuple[Tensor, Tensor]:
    """Their stream into the target's and back by the nearest rotation, of equal size as a norm sees it: as a mean over places."""
    u, _, v = torch.linalg.svd(theirs.T @ target, full_matrices=False)
    grows = (target.shape[1] / theirs.shape[1]) ** 0.5
    return (u @ v).T * grows, (u @ v) / grows


def _share_widths(target: Float[Tensor, "n d"], theirs: Float[Tensor, "n e"]) -> tuple[Tensor, Tensor]:
    """The same by the transport plan between the places of both streams."""
    shares = transport_units(correlate_units(target, theirs)).to(target.dtype)
    return shares * len(shares), shares.T * shares.shape[1]


STREAMS = {"rotation": _rotate_widths, "transport": _share_widths}


def _plan_layer(
    i: int,
    target: SeenLlama,
    theirs: SeenLlama,
    weights: State,
    other: State,
    shape: LlamaShape,
    other_shape: LlamaShape,
    gather: Tensor,
) -> LayerPlan:
    """Layer `i`: groups share their mass by how alike their best-paired heads write, neurons by when they fire."""
    name = f"model.layers.{i}.self_attn.o_proj.weight"
    writes = _head_writes(target.mixed[i], weights[name], shape).flatten(2)
    comes = _head_writes(theirs.mixed[i], gather @ other[name], other_shape).flatten(2)
    kv, their_kv, size = shape.n_kv_heads, other_shape.n_kv_heads, shape.d_head
    score, heads = torch.zeros(kv, their_kv), torch.zeros(kv, their_kv, shape.per_group, dtype=torch.long)
    values, turns = torch.zeros(kv, their_kv, size, size), torch.zeros(kv, their_kv, size // 2)
    (k_ours, v_ours), (k_theirs, v_theirs) = (
        [seen.said[n][i].unflatten(1, (-1, size)) for n in "kv"] for seen in (target, theirs)
    )
    for a in range(kv):
        for b in range(their_kv):
            alike = correlate_units(writes[a].T, comes[b].T)
            heads[a, b] = assign_units(alike)
            score[a, b] = alike[torch.arange(shape.per_group), heads[a, b]].sum()
            values[a, b] = _turn_basis(v_ours[:, a], v_theirs[:, b]).T
            turns[a, b] = _match_angles(k_ours[:, a], k_theirs[:, b], shape)
    neurons = transport_units(correlate_units(target.fired[i], theirs.fired[i]))
    return LayerPlan(transport_units(score).float(), heads, values, turns, neurons.float())


def carry_llama(state: State, plan: WidthPlan, shape: LlamaShape) -> State:
    """Folded weights in the widths of another Llama of `shape`: units become means of those given to them, and what read one
    reads the mean of those it went to. A model whose neurons, groups or stream were doubled comes back as it was."""
    for name in (n for n in state if n.endswith("norm.weight")):
        if not torch.allclose(state[name], torch.ones_like(state[name])):
            raise UsageError(
                f"'{name}' has gains; a stream can change its width only when they are folded: call fold_gains first."
            )
    gather, spread = plan.gather, plan.spread
    out = {n: torch.ones(len(gather)) if n.endswith("norm.weight") else w.clone() for n, w in state.items()}
    out[EMBEDDING], out[HEAD] = state[EMBEDDING] @ gather.T, state[HEAD] @ spread
    for i, layer in enumerate(plan.layers):
        at, mlp = f"model.layers.{i}.self_attn.", f"model.layers.{i}.mlp."
        _carry_attention(out, at, layer, shape, plan)
        for name in ("gate_proj", "up_proj"):
            rows = layer.neurons * len(layer.neurons)
            out[f"{mlp}{name}.weight"] = rows @ state[f"{mlp}{name}.weight"] @ spread
        columns = layer.neurons.T * layer.neurons.shape[1]
        out[f"{mlp}down_proj.weight"] = gather @ state[f"{mlp}down_proj.weight"] @ columns
    return out


def _carry_attention(out: State, at: str, layer: LayerPlan, shape: LlamaShape, plan: WidthPlan) -> None:
    """Query, key, value and output maps of one layer, in place of `out`: every pair of groups turned onto each other, then shared."""
    kv, their_kv = layer.groups.shape
    per, size = shape.per_group, shape.d_head
    q, k, v, o = (f"{at}{name}_proj.weight" for name in "qkvo")
    rows, columns = layer.groups * kv, layer.groups.T * their_kv
    turn = torch.stack([turn_matrices(turns, shape) for turns in layer.turns])
    order = torch.arange(their_kv)[None, :, None]
    queries = (out[q] @ plan.spread).unflatten(0, (their_kv, per, size))[order, layer.heads]
    out[q] = torch.einsum("ab,abij,abpjw->apiw", rows, turn, queries).flatten(0, 2)
    for name, moves in ((k, turn), (v, layer.values)):
        said = (out[name] @ plan.spread).unflatten(0, (their_kv, size))
        out[name] = torch.einsum("ab,abij,bjw->aiw", rows, moves, said).flatten(0, 1)
    written = (plan.gather @ out[o]).T.unflatten(0, (their_kv, per, size))[order, layer.heads]
    out[o] = torch.einsum("ba,abij,abpjw->apiw", columns, layer.values, written).flatten(0, 2).T
