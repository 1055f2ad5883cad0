"""Where a model's prunable maps are: stacks of layers, and the linear maps inside them, fused ones included."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

import torch
from jaxtyping import Float
from torch import Tensor, nn

from digsite.base.errors import UsageError, name_nearest


@dataclass(frozen=True)
class LinearMap:
    """A map y = x W^T, whichever way round it is stored and whatever else its parameter holds.

    `parameter` is its name in `module`; `expert` picks one matrix of a stack, `rows` some rows of a matrix (the query
    part of a fused in-projection). `routed` maps see only the tokens that a router sends them.
    """

    name: str
    module: nn.Module
    transposed: bool  # GPT-2's Conv1D stores (in, out)
    parameter: str = "weight"
    expert: int | None = None
    rows: tuple[int, int] | None = None

    @property
    def tensor(self) -> Tensor:
        """The whole parameter that this map is, or is a part of."""
        return getattr(self.module, self.parameter)

    @property
    def key(self) -> str:
        """The full name of the parameter in the model's state."""
        if self.expert is not None:
            return self.name.removesuffix(f"{self.expert}.{self.parameter}") + self.parameter
        path = self.name if self.rows is None else self.name.rpartition(".in_proj.")[0]
        return f"{path}.{self.parameter}" if path else self.parameter

    @property
    def routed(self) -> bool:
        """Whether a token reaches this map only when a router sends it there."""
        return self.expert is not None

    @property
    def stored(self) -> Tensor:
        """The map's part of its parameter, as it lies there: a view, so writing changes the model."""
        return self.part_of(self.tensor.detach())

    def part_of(self, whole: Tensor) -> Tensor:
        """This map's part of a tensor like its parameter."""
        if self.expert is not None:
            return whole[self.expert]
        return whole if self.rows is None else whole[self.rows[0] : self.rows[1]]

    @property
    def weight(self) -> Float[Tensor, "out in"]:
        """(out, in), whichever way round the module stores it."""
        return self.stored.t().contiguous() if self.transposed else self.stored

    @property
    def n_inputs(self) -> int:
        """Width of what the map reads."""
        return self.stored.shape[0 if self.transposed else 1]

    @property
    def size(self) -> int:
        """Numbers of the map."""
        return self.stored.numel()

    def replace(self, weight: Float[Tensor, "out in"]) -> None:
        """In place: tied and fused parameters stay one tensor."""
        with torch.no_grad():
            self.stored.copy_(weight.t() if self.transposed else weight)


@dataclass(frozen=True)
class LayerBlock:
    """One step of the sequential pass: a layer of a stack, or a single map of a plain network."""

    name: str
    module: nn.Module
    maps: list[LinearMap]

    @property
    def whole(self) -> bool:
        """A single map: its batch is not split into sequences."""
        return len(self.maps) == 1 and self.maps[0].module is self.module


@dataclass(frozen=True)
class LeftAlone:
    """Parameters that no map covers: why, how many, and which share of the model they are."""

    reason: str
    n_parameters: int
    share: float
    example: str


def linear_map(name: str, module: nn.Module) -> LinearMap | None:
    """Exactly nn.Linear, as the published implementations have it, or transformers' Conv1D.

    Quantized subclasses hold something else under `weight`; the one subclass that torch itself puts into
    nn.MultiheadAttention is a plain map under another name.
    """
    if type(module) is nn.Linear or type(module).__name__ == "NonDynamicallyQuantizableLinear":
        return LinearMap(name, module, transposed=False)
    if type(module).__name__ == "Conv1D" and getattr(module, "nf", None) is not None:
        return LinearMap(name, module, transposed=True)
    return None


def list_maps(name: str, module: nn.Module) -> list[LinearMap]:
    """The maps whose weights this very module holds: one, the experts of a fused stack, or q, k and v."""
    single = linear_map(name, module)
    if single is not None:
        return [single]
    if isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
        width = module.embed_dim
        return [
            LinearMap(
                f"{name}.in_proj.{part}", module, False, "in_proj_weight", rows=(i * width, (i + 1) * width)
            )
            for i, part in enumerate("qkv")
        ]
    return _expert_maps(name, module)


def _expert_maps(name: str, module: nn.Module) -> list[LinearMap]:
    """Experts stored as one tensor (experts, out, in), or (experts, in, out) where the module says so."""
    n_experts = getattr(module, "num_experts", None)
    stacks = [
        (key, p)
        for key, p in module.named_parameters(recurse=False)
        if p.ndim == 3 and len(p) == n_experts and p.is_floating_point() and not key.endswith("bias")
    ]
    return [
        LinearMap(f"{name}.{expert}.{key}", module, _stored_in_out(module, key, p), key, expert=expert)
        for key, p in stacks
        for expert in range(len(p))
    ]


def _stored_in_out(module: nn.Module, key: str, stack: Tensor) -> bool:
    """What the module declares; else the residual width, which is the input of all maps but the last."""
    declared = getattr(module, "is_transposed", None)
    if declared is not None:
        return bool(declared)
    width = getattr(module, "hidden_size", getattr(module, "hidden_dim", None))
    if width not in stack.shape[1:] or stack.shape[1] == stack.shape[2]:
        return False
    return (stack.shape[1] == width) != ("down" in key)


def linear_maps(module: nn.Module, prefix: str) -> list[LinearMap]:
    """Every map inside `module`, itself included, named from `prefix`."""
    named = ((".".join(filter(None, (prefix, name))), child) for name, child in module.named_modules())
    return [linear for name, child in named for linear in list_maps(name, child)]


def list_blocks(
    model: nn.Module, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> list[LayerBlock]:
    """The layers of every stack with the maps to prune in each; without stacks, every map is a block of its own.

    Maps outside of the stacks (heads, poolers) stay, as published, unless `include` names them.
    """
    stacks = layer_stacks(model)
    inside = [
        LayerBlock(f"{path}.{i}", layer, linear_maps(layer, f"{path}.{i}"))
        for path, layers in stacks
        for i, layer in enumerate(layers)
    ]
    outside = [LayerBlock(linear.name, linear.module, [linear]) for linear in _maps_outside(model, stacks)]
    if not any(block.maps for block in (*inside, *outside)):
        raise UsageError(
            "The model has no linear map that could be pruned.",
            hint="Its other parameters (convolutions, recurrent or custom weights) are left alone.",
        )
    names = [linear.name for block in (*inside, *outside) for linear in block.maps]
    for pattern in (*include, *exclude):
        if not any(_matches_pattern(name, pattern) for name in names):
            raise UsageError(f"No map is called '{pattern}'. {name_nearest(pattern, list_components(names))}")
    chosen = [
        LayerBlock(b.name, b.module, [m for m in b.maps if _is_chosen(m.name, include, exclude)])
        for b in inside
    ]
    extra = [b for b in outside if _is_chosen(b.name, include, exclude) and (include or not stacks)]
    return [*chosen, *extra]


def _maps_outside(model: nn.Module, stacks: Sequence[tuple[str, nn.ModuleList]]) -> list[LinearMap]:
    """Maps that are in no stack of layers: heads, embeddings, projections between parts."""
    paths = tuple(f"{path}." for path, _ in stacks)
    return [linear for linear in linear_maps(model, "") if not f"{linear.name}.".startswith(paths)]


def layer_stacks(model: nn.Module) -> list[tuple[str, nn.ModuleList]]:
    """The outermost lists of layers that hold linear maps: one of a decoder, two of an encoder-decoder."""
    stacks: list[tuple[str, nn.ModuleList]] = []
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or not len(module):
            continue
        if any(name.startswith(f"{path}.") for path, _ in stacks):
            continue  # a list inside a layer: the experts of a mixture
        if all(linear_map("", child) is None for child in module) and all(linear_maps(c, "") for c in module):
            stacks.append((name, module))
    return stacks


def decoder_stack(model: nn.Module) -> tuple[str, nn.ModuleList] | None:
    """The longest stack."""
    return max(layer_stacks(model), key=lambda pair: len(pair[1]), default=None)


def all_maps(model: nn.Module) -> list[LinearMap]:
    """Every prunable map, in the order of the layers."""
    return [linear for block in list_blocks(model) for linear in block.maps]


def left_alone(model: nn.Module, maps: Sequence[LinearMap]) -> list[LeftAlone]:
    """What pruning `maps` does not touch, by reason, largest first; a tied parameter counts once."""
    covered = {id(linear.tensor) for linear in maps}
    total, groups = 0, {}
    for name, owner, key, parameter in _list_parameters(model):
        total += parameter.numel()
        if id(parameter) not in covered:
            n, example = groups.get(reason := _reason_left(owner, key, parameter), (0, name))
            groups[reason] = (n + parameter.numel(), example)
    listed = [LeftAlone(reason, n, n / max(total, 1), example) for reason, (n, example) in groups.items()]
    return sorted(listed, key=lambda linear: -linear.n_parameters)


def _list_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Module, str, Tensor]]:
    seen: set[int] = set()
    for path, module in model.named_modules():
        for key, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield ".".join(filter(None, (path, key))), module, key, parameter


def _reason_left(owner: nn.Module, key: str, parameter: Tensor) -> str:
    """Why a parameter is not among the maps, in the words of the coverage line."""
    if parameter.ndim < 2:
        return "biases and norms"
    if (
        isinstance(owner, nn.Embedding)
        or "embed" in type(owner).__name__.lower()
        or "embed" in key
        or "pos" in key
    ):
        return "embeddings"
    if list_maps("", owner):
        return "maps outside of the layers or excluded"
    if type(owner).__module__ == "torch.nn.modules.conv":
        return "convolutions"
    if isinstance(owner, nn.RNNBase | nn.RNNCellBase):
        return "recurrent weights"
    return (
        "routers" if "router" in type(owner).__name__.lower() else f"other weights of {type(owner).__name__}"
    )


def map_shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """(out, in) of every map, by its name."""
    return {linear.name: tuple(linear.weight.shape) for linear in all_maps(model)}


def list_components(names: Sequence[str]) -> list[str]:
    """What a map is called inside its layer: `model.layers.3.mlp.down_proj` is `mlp.down_proj`."""
    return sorted({component_of(name) for name in names})


def component_of(name: str) -> str:
    """What a map is called inside of its layer: `model.layers.3.mlp.up_proj` is `mlp.up_proj`."""
    words = name.split(".")
    last = max((i for i, word in enumerate(words) if word.isdigit()), default=-1)
    return ".".join(words[last + 1 :]) or name


def layer_number(name: str) -> int:
    """The first number in the name."""
    numbers = [int(word) for word in name.split(".") if word.isdigit()]
    return numbers[0] if numbers else 0


def _matches_pattern(name: str, pattern: str) -> bool:
    """A pattern may mean the whole name, the part inside of the layer, or an ending."""
    return fnmatch(name, pattern) or fnmatch(component_of(name), pattern) or name.endswith("." + pattern)


def _is_chosen(name: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Named by `include`, where anything is, and not by `exclude`."""
    wanted = not include or any(_matches_pattern(name, pattern) for pattern in include)
    return wanted and not any(_matches_pattern(name, pattern) for pattern in exclude)
