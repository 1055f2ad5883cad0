"""Structured pruning of Llama-like models: whole layers, groups of heads and neurons of gated MLPs leave for good.

What is left is a smaller dense model of the same family, so every program that loads the family runs it, and faster. A
family's config has one number of heads and one width of the MLP for all layers, so every layer loses the same share;
which ones is chosen per layer. The map that reads what was removed (o_proj, down_proj) is refitted by least squares, so
that the units that stay take over what the others said where it can be predicted from them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.prune.core.inputs import InputStatistics
from digsite.prune.core.layers import LayerBlock, component_of, decoder_stack, list_blocks
from digsite.prune.core.repair.maps import solve_on_support
from digsite.prune.core.walk import Statistics, walk_blocks

NEEDED = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)


@dataclass(frozen=True)
class Smaller:
    """What to remove, and how it is chosen.

    `share` of the MLP neurons and, rounded to whole groups of query heads with their key and value head, of the
    attention; `layers` whole blocks. `choice` is 'energy' (what a unit adds to the stream on the calibration inputs) or
    'random', the null that a choice must beat.
    """

    share: float = 0.25
    layers: int = 0
    heads: bool = True
    choice: str = "energy"
    refit: bool = True
    ridge: float = 0.01
    seed: int = 0


@dataclass(frozen=True)
class Geometry:
    """Sizes of the model: of its attention groups (a key and value head with the query heads that share it), its MLP."""

    n_heads: int
    n_kv_heads: int
    d_head: int
    d_mlp: int

    @property
    def per_group(self) -> int:
        """Query heads that share one key and value head, and can only leave together."""
        return self.n_heads // self.n_kv_heads


def geometry_of(model: nn.Module) -> Geometry:
    """Read from the shapes of the first layer, so that Hugging Face's Llamas and our own are the same to it."""
    stack = decoder_stack(model)
    first = None if stack is None else stack[1][0]
    named = {} if first is None else dict(first.named_modules())
    missing = [name for name in NEEDED if name not in named]
    if missing:
        raise UsageError(
            f"Structured pruning knows Llama-like layers; this model's layers have no '{missing[0]}'.",
            hint="Use --sparsity or --pattern, which prune any linear map.",
        )
    config: Any = model.config
    n_heads = getattr(config, "num_attention_heads", None) or config.n_heads
    n_kv = getattr(config, "num_key_value_heads", None) or getattr(config, "n_kv_heads", n_heads)
    rows = named["self_attn.q_proj"].weight.shape[0]  # pyright: ignore[reportIndexIssue]
    return Geometry(n_heads, n_kv, rows // n_heads, named["mlp.gate_proj"].weight.shape[0])  # pyright: ignore[reportArgumentType, reportIndexIssue]


@torch.no_grad()
def shrink_model(model: nn.Module, tokens: Int[Tensor, "rows tokens"], plan: Smaller) -> dict[str, Any]:
    """Make the model smaller in place; returns what was kept: layers, and per layer groups of heads and neurons.

    Layers are taken in order, each judged and refitted on what the smaller layers before it pass on.
    """
    shape = geometry_of(model)
    n_groups, n_neurons = _how_many(shape, plan)
    kept: dict[str, Any] = {"layers": list(range(len(list_blocks(model)))), "groups": {}, "neurons": {}}
    if plan.layers:
        kept["layers"] = _drop_layers(model, tokens, plan)
    draw = torch.Generator().manual_seed(plan.seed)

    def visit(block: LayerBlock, statistics: Statistics) -> None:
        maps = {component_of(linear.name): linear.module for linear in block.maps}
        reads = {component_of(linear.name): statistics[linear.name] for linear in block.maps}
        width = shape.per_group * shape.d_head
        for reader, size, count, name in (
            ("self_attn.o_proj", width, n_groups, "groups"),
            ("mlp.down_proj", 1, n_neurons, "neurons"),
        ):
            chosen = choose_units(maps[reader].weight, reads[reader], size, count, plan, draw)  # pyright: ignore[reportArgumentType]
            kept[name][block.name] = chosen.tolist()
            refit_reader(maps[reader], reads[reader], places_of(chosen, size), plan)
        _cut_writers(maps, shape, kept["groups"][block.name], kept["neurons"][block.name])
        _tell_attention(block.module, n_groups * shape.per_group, n_groups)

    if n_groups < shape.n_kv_heads or n_neurons < shape.d_mlp:
        walk_blocks(model, list_blocks(model), tokens, visit)
        _tell_config(model, shape, n_groups, n_neurons)
    return kept


def _how_many(shape: Geometry, plan: Smaller) -> tuple[int, int]:
    """Groups of heads and neurons that stay; at least one of each."""
    if not 0 <= plan.share < 1:
        raise UsageError(f"The share {plan.share} is outside [0, 1).", hint="0.25 removes a quarter.")
    groups = max(1, round((1 - plan.share) * shape.n_kv_heads)) if plan.heads else shape.n_kv_heads
    return groups, max(1, round((1 - plan.share) * shape.d_mlp))


def choose_units(
    weight: Float[Tensor, "out in"],
    inputs: InputStatistics,
    size: int,
    count: int,
    plan: Smaller,
    draw: torch.Generator,
) -> Int[Tensor, "kept"]:
    """The `count` units to keep, in order; unit i is `size` neighboring inputs of the map that reads it."""
    n_units = weight.shape[1] // size
    if plan.choice == "random":
        return torch.randperm(n_units, generator=draw)[:count].sort().values
    energy = (weight.float().square().sum(0) * inputs.square_norms).view(n_units, size).sum(1)
    return energy.topk(count).indices.sort().values


def places_of(units: Int[Tensor, "kept"], size: int) -> Int[Tensor, "inputs"]:
    """Inputs of the kept units."""
    return (units[:, None] * size + torch.arange(size)).flatten()


def refit_reader(module: Any, inputs: InputStatistics, places: Int[Tensor, "inputs"], plan: Smaller) -> None:
    """Cut the columns of removed units; with `refit`, the others take over what they can."""
    weight = module.weight.float()
    if plan.refit:
        keep = torch.zeros_like(weight, dtype=torch.bool)
        keep[:, places] = True
        weight = solve_on_support(inputs.gram, weight @ inputs.gram, keep, weight, ridge=plan.ridge, steps=60)
    _resize_map(module, weight[:, places].to(module.weight.dtype), None)


def _cut_writers(
    maps: dict[str, Any], shape: Geometry, groups: Sequence[int], neurons: Sequence[int]
) -> None:
    """Remove the rows that made the removed units."""
    kept_groups, kept_neurons = torch.tensor(groups), torch.tensor(neurons)
    for name, size in (
        ("q_proj", shape.per_group * shape.d_head),
        ("k_proj", shape.d_head),
        ("v_proj", shape.d_head),
    ):
        _cut_rows(maps[f"self_attn.{name}"], places_of(kept_groups, size))
    for name in ("gate_proj", "up_proj"):
        _cut_rows(maps[f"mlp.{name}"], kept_neurons)


def _cut_rows(module: Any, rows: Int[Tensor, "rows"]) -> None:
    """Outputs that stay."""
    _resize_map(module, module.weight[rows], None if module.bias is None else module.bias[rows])


def _resize_map(module: Any, weight: Float[Tensor, "out in"], bias: Tensor | None) -> None:
    """The module keeps its class and its name, so the model saves and opens as before."""
    module.weight = nn.Parameter(weight.clone(), requires_grad=module.weight.requires_grad)
    if bias is not None:
        module.bias = nn.Parameter(bias.clone(), requires_grad=module.bias.requires_grad)
    module.out_features, module.in_features = weight.shape


def _tell_attention(layer: Any, n_heads: int, n_kv: int) -> None:
    """What an attention module remembers of its own sizes."""
    attention = layer.self_attn
    for name, value in (
        ("num_heads", n_heads),
        ("num_key_value_heads", n_kv),
        ("num_key_value_groups", n_heads // n_kv),
    ):
        if hasattr(attention, name):
            setattr(attention, name, value)
    if hasattr(attention, "config") and hasattr(attention.config, "n_heads"):
        attention.config = attention.config.model_copy(
            update={"n_heads": n_heads, "n_kv_heads": n_kv, "d_head": attention.config.head_size}
        )


def _tell_config(model: Any, shape: Geometry, n_groups: int, n_neurons: int) -> None:
    """The config that is saved beside the weights says the new sizes, or nothing could load them."""
    heads = n_groups * shape.per_group
    config = model.config
    if hasattr(config, "num_attention_heads"):
        sizes = {
            "num_attention_heads": heads,
            "num_key_value_heads": n_groups,
            "intermediate_size": n_neurons,
            "head_dim": shape.d_head,
        }
        for name, value in sizes.items():
            setattr(config, name, value)
        return
    sizes = {"n_heads": heads, "n_kv_heads": n_groups, "d_mlp": n_neurons, "d_head": shape.d_head}
    model.config = config.model_copy(update=sizes)


def _drop_layers(model: nn.Module, tokens: Tensor, plan: Smaller) -> list[int]:
    """Remove the blocks that change the stream least (one minus the cosine between what enters and what leaves)."""
    stack = decoder_stack(model)
    assert stack is not None
    path, layers = stack
    if not 0 < plan.layers < len(layers):
        raise UsageError(f"{plan.layers} layers cannot be removed from a model of {len(layers)}.")
    changes = torch.rand(len(layers), generator=torch.Generator().manual_seed(plan.seed))
    if plan.choice != "random":
        changes = torch.tensor(_measure_turns(model, layers, tokens))
    kept = changes.topk(len(layers) - plan.layers).indices.sort().values.tolist()
    parent = model.get_submodule(path.rpartition(".")[0]) if "." in path else model
    setattr(parent, path.rpartition(".")[2], nn.ModuleList(layers[i] for i in kept))
    for position, i in enumerate(kept):  # a cache is addressed by the layer's own number
        if hasattr(getattr(layers[i], "self_attn", None), "layer_idx"):
            layers[i].self_attn.layer_idx = position  # pyright: ignore[reportArgumentType]
    config: Any = model.config
    if hasattr(config, "num_hidden_layers"):
        config.num_hidden_layers = len(kept)
        if getattr(config, "layer_types", None):
            config.layer_types = [config.layer_types[i] for i in kept]
    else:
        model.config = config.model_copy(update={"n_layers": len(kept)})
    return kept


def _measure_turns(model: nn.Module, layers: nn.ModuleList, tokens: Tensor) -> list[float]:
    """How far every block turns the residual stream, the mean over tokens."""
    turned: list[float] = []

    def measure(_module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        before = args[0] if args else kwargs["hidden_states"]
        after = output if isinstance(output, Tensor) else output[0]
        turned.append(1.0 - float(torch.cosine_similarity(before.float(), after.float(), dim=-1).mean()))

    handles = [layer.register_forward_hook(measure, with_kwargs=True) for layer in layers]
    try:
        model(tokens)
    finally:
        for handle in handles:
            handle.remove()
    return turned
