"""Bring one Llama into another's basis: match what both compute on the same tokens, part by part.

The stream first, from what both carry after every block; then in each layer groups of heads and heads inside them by what
they write into the (matched) stream, the value spaces and rotary planes inside a head, and the neurons of the MLP by when
they fire. Every step is an assignment or a Procrustes problem and is solved exactly; no gradient is taken.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from digsite.base.errors import UsageError, name_nearest
from digsite.graft.core.llama_symmetries import (
    LayerSymmetry,
    LlamaShape,
    State,
    Symmetry,
    apply_symmetry,
    identity_symmetry,
    rotary_places,
)
from digsite.graft.core.maps import assign_units, correlate_units
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
