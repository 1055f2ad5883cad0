"""The symmetries of a Llama: changes of its weights that change nothing it says.

- the residual stream may be permuted, and rotated once the norms' gains are folded into the maps that read them (an RMS
  norm without gains commutes with every rotation);
- groups of heads (a key and value head with the query heads that share it) may be permuted, and query heads inside a group;
- the value space of a group may be rotated, v by R and the group's columns of o back by R^T;
- a query and its key may be turned together inside each rotary plane, since rotary angles commute with plane turns;
- the neurons of a gated MLP may be permuted: one order for the gate, the up map and the columns of the down map.

So two trainings that found the same function may sit at places far apart, and a merge of them is only meaningful after
one has been brought into the other's basis.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from digsite.base.errors import UsageError

State = dict[str, Tensor]
READERS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj")
WRITERS = ("self_attn.o_proj", "mlp.down_proj")
EMBEDDING, HEAD, LAST_NORM = "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"


@dataclass(frozen=True)
class LlamaShape:
    """Sizes of a Llama; `pairs` says which places of a head turn together: i and i + 1, or i and i + half."""

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    pairs: bool = False

    @property
    def per_group(self) -> int:
        """Query heads that share a key and value head."""
        return self.n_heads // self.n_kv_heads

    @classmethod
    def of_config(cls, config: Any) -> "LlamaShape":
        """From our config or from Hugging Face's."""
        if hasattr(config, "num_attention_heads"):
            heads = config.num_attention_heads
            size = getattr(config, "head_dim", None) or config.hidden_size // heads
            return cls(config.num_hidden_layers, heads, config.num_key_value_heads, size)
        if not hasattr(config, "n_kv_heads"):
            raise UsageError(
                "Re-basin of transformers knows Llama-like models, and this config has no key and value heads."
            )
        return cls(
            config.n_layers, config.n_heads, config.n_kv_heads, config.head_size, config.rope == "pairs"
        )


@dataclass(frozen=True)
class LayerSymmetry:
    """`heads` (kv, per group): which query head of the other model sits at each place, group by group; `groups` likewise;
    `values` (kv, d_head, d_head) rotations; `turns` (kv, d_head / 2) angles; `neurons` an order."""

    groups: Int[Tensor, "kv"]
    heads: Int[Tensor, "kv per_group"]
    values: Float[Tensor, "kv size size"]
    turns: Float[Tensor, "kv half"]
    neurons: Int[Tensor, "mlp"]


@dataclass(frozen=True)
class Symmetry:
    """`stream` (width, width) orthogonal: a row vector x of the other model's stream becomes x @ stream."""

    stream: Float[Tensor, "width width"]
    layers: tuple[LayerSymmetry, ...]


def identity_symmetry(shape: LlamaShape, width: int, d_mlp: int) -> Symmetry:
    """The symmetry that moves nothing, for a stream of `width` and MLPs of `d_mlp` neurons."""
    layer = LayerSymmetry(
        torch.arange(shape.n_kv_heads),
        torch.arange(shape.per_group).repeat(shape.n_kv_heads, 1),
        torch.eye(shape.d_head).repeat(shape.n_kv_heads, 1, 1),
        torch.zeros(shape.n_kv_heads, shape.d_head // 2),
        torch.arange(d_mlp),
    )
    return Symmetry(torch.eye(width), (layer,) * shape.n_layers)


def fold_gains(state: State, shape: LlamaShape) -> State:
    """The same function with all norm gains 1: every gain moves into the maps that read the norm. The output map is
    written out, since with the last norm's gain in it it can no longer be the embedding."""
    out = {name: tensor.clone() for name, tensor in state.items()}
    out[HEAD] = out.get(HEAD, out[EMBEDDING]) * out[LAST_NORM]
    out[LAST_NORM] = torch.ones_like(out[LAST_NORM])
    for i in range(shape.n_layers):
        for norm, readers in (("input_layernorm", READERS[:3]), ("post_attention_layernorm", READERS[3:])):
            name = f"model.layers.{i}.{norm}.weight"
            for reader in readers:
                out[f"model.layers.{i}.{reader}.weight"] *= out[name]
            out[name] = torch.ones_like(out[name])
    return out


def apply_symmetry(state: State, symmetry: Symmetry, shape: LlamaShape) -> State:
    """The weights of the same function in the other basis; for a stream that is not a permutation they must be folded."""
    out = {name: tensor.clone() for name, tensor in state.items()}
    stream = symmetry.stream.to(out[EMBEDDING].dtype)
    out[EMBEDDING] = out[EMBEDDING] @ stream
    if HEAD in out:
        out[HEAD] = out[HEAD] @ stream
    for name in [n for n in out if n.endswith("norm.weight")]:
        out[name] = _moved_gains(out[name], stream)
    for i, layer in enumerate(symmetry.layers):
        prefix = f"model.layers.{i}."
        for reader in READERS:
            out[f"{prefix}{reader}.weight"] = out[f"{prefix}{reader}.weight"] @ stream
        for writer in WRITERS:
            out[f"{prefix}{writer}.weight"] = stream.T @ out[f"{prefix}{writer}.weight"]
        _move_attention(out, prefix, layer, shape)
        for name in ("gate_proj", "up_proj"):
            out[f"{prefix}mlp.{name}.weight"] = out[f"{prefix}mlp.{name}.weight"][layer.neurons]
        out[f"{prefix}mlp.down_proj.weight"] = out[f"{prefix}mlp.down_proj.weight"][:, layer.neurons]
    return out


def _moved_gains(gains: Tensor, stream: Tensor) -> Tensor:
    """Gains of 1 stay; others can follow a permutation and nothing else."""
    if torch.allclose(gains, torch.ones_like(gains)):
        return gains
    if not torch.allclose(stream.abs().max(0).values, torch.ones(len(stream)), atol=1e-5):
        raise UsageError(
            "A stream can be rotated only when the norms' gains are folded into the maps: call folded() first."
        )
    return (gains @ stream.abs()).clone()


def _move_attention(out: State, prefix: str, layer: LayerSymmetry, shape: LlamaShape) -> None:
    """Query, key, value and output maps of one layer moved, in place of `out`.

    Order first, then rotation: heads and groups are taken to their new places and turned there.
    """
    kv, per, size = shape.n_kv_heads, shape.per_group, shape.d_head
    q, k, v, o = (f"{prefix}self_attn.{name}_proj.weight" for name in "qkvo")
    queries = out[q].view(kv, per, size, -1)
    heads = torch.stack([queries[g][layer.heads[i]] for i, g in enumerate(layer.groups)])
    turn = turn_matrices(layer.turns, shape)
    out[q] = torch.einsum("gab,gpbw->gpaw", turn, heads).reshape(out[q].shape)
    out[k] = torch.einsum("gab,gbw->gaw", turn, out[k].view(kv, size, -1)[layer.groups]).reshape(out[k].shape)
    values = out[v].view(kv, size, -1)[layer.groups]
    out[v] = torch.einsum("gab,gbw->gaw", layer.values, values).reshape(out[v].shape)
    columns = out[o].view(-1, kv, per, size)
    moved = torch.stack([columns[:, g][:, layer.heads[i]] for i, g in enumerate(layer.groups)], 1)
    out[o] = torch.einsum("wgpb,gab->wgpa", moved, layer.values).reshape(out[o].shape)


def turn_matrices(turns: Float[Tensor, "kv half"], shape: LlamaShape) -> Float[Tensor, "kv size size"]:
    """Block rotations of the rotary planes by the given angles."""
    kv, half = turns.shape
    first, second = rotary_places(shape)
    out = torch.zeros(kv, shape.d_head, shape.d_head)
    out[:, first, first], out[:, second, second] = turns.cos(), turns.cos()
    out[:, first, second], out[:, second, first] = -turns.sin(), turns.sin()
    assert half == len(first)
    return out


def rotary_places(shape: LlamaShape) -> tuple[Int[Tensor, "half"], Int[Tensor, "half"]]:
    """Which two places of a head span each rotary plane."""
    if shape.pairs:
        return torch.arange(0, shape.d_head, 2), torch.arange(1, shape.d_head, 2)
    return torch.arange(shape.d_head // 2), torch.arange(shape.d_head // 2, shape.d_head)


def replace_stream(symmetry: Symmetry, stream: Float[Tensor, "width width"]) -> Symmetry:
    """The same symmetry with another rotation (width, width) of the stream."""
    return replace(symmetry, stream=stream)
