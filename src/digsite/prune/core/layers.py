"""Where a model's prunable maps are: decoder layers, and the linear maps inside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

import torch
from jaxtyping import Float
from torch import Tensor, nn

from digsite.base.errors import UsageError, nearest


@dataclass(frozen=True)
class LinearMap:
    """A map y = x W^T, whichever way round its module stores W."""

    name: str
    module: nn.Module
    transposed: bool  # GPT-2's Conv1D stores (in, out)

    @property
    def stored(self) -> Tensor:
        return self.module.weight.detach()  # pyright: ignore[reportCallIssue]

    @property
    def weight(self) -> Float[Tensor, "out in"]:
        return self.stored.t().contiguous() if self.transposed else self.stored

    def replace(self, weight: Float[Tensor, "out in"]) -> None:
        with torch.no_grad():
            self.module.weight.copy_(weight.t() if self.transposed else weight)  # pyright: ignore[reportCallIssue, reportArgumentType]


@dataclass(frozen=True)
class Block:
    """One step of the sequential pass: a decoder layer, or a single map of a plain network."""

    name: str
    module: nn.Module
    maps: list[LinearMap]

    @property
    def whole(self) -> bool:
        """A single map: its batch is not split into sequences."""
        return len(self.maps) == 1 and self.maps[0].module is self.module


def linear_map(name: str, module: nn.Module) -> LinearMap | None:
    """Exactly nn.Linear, as the published implementations have it, or transformers' Conv1D."""
    if type(module) is nn.Linear:
        return LinearMap(name, module, transposed=False)
    if type(module).__name__ == "Conv1D" and getattr(module, "nf", None) is not None:
        return LinearMap(name, module, transposed=True)
    return None


def linear_maps(module: nn.Module, prefix: str) -> list[LinearMap]:
    named = ((".".join(filter(None, (prefix, name))), child) for name, child in module.named_modules())
    found = (linear_map(name, child) for name, child in named)
    return [one for one in found if one is not None]


def blocks(model: nn.Module, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> list[Block]:
    """The decoder layers with the maps to prune in each; without decoder layers, every map is a block of its own."""
    stack = decoder_stack(model)
    if stack is None:
        whole = [Block(one.name, one.module, [one]) for one in linear_maps(model, "")]
    else:
        path, layers = stack
        whole = [
            Block(f"{path}.{i}", layer, linear_maps(layer, f"{path}.{i}")) for i, layer in enumerate(layers)
        ]
    if not any(block.maps for block in whole):
        raise UsageError("The model has no linear map that could be pruned.")
    names = [one.name for block in whole for one in block.maps]
    for pattern in (*include, *exclude):
        if not any(_matches(name, pattern) for name in names):
            raise UsageError(f"No map is called '{pattern}'. {nearest(pattern, components(names))}")
    chosen = [
        Block(b.name, b.module, [m for m in b.maps if _chosen(m.name, include, exclude)]) for b in whole
    ]
    return [block for block in chosen if block.maps or stack is not None]


def all_maps(model: nn.Module) -> list[LinearMap]:
    return [one for block in blocks(model) for one in block.maps]


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """(out, in) of every map, by its name."""
    return {one.name: tuple(one.weight.shape) for one in all_maps(model)}


def components(names: Sequence[str]) -> list[str]:
    """What a map is called inside its layer: `model.layers.3.mlp.down_proj` is `mlp.down_proj`."""
    return sorted({component(name) for name in names})


def component(name: str) -> str:
    words = name.split(".")
    last = max((i for i, word in enumerate(words) if word.isdigit()), default=-1)
    return ".".join(words[last + 1 :]) or name


def layer_number(name: str) -> int:
    numbers = [int(word) for word in name.split(".") if word.isdigit()]
    return numbers[0] if numbers else 0


def decoder_stack(model: nn.Module) -> tuple[str, nn.ModuleList] | None:
    """The longest list of equal modules that hold linear maps."""
    found = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList)
        and len({type(child) for child in module}) == 1
        and linear_map("", module[0]) is None
        and linear_maps(module[0], "")
    ]
    return max(found, key=lambda pair: len(pair[1]), default=None)


def _matches(name: str, pattern: str) -> bool:
    return fnmatch(name, pattern) or fnmatch(component(name), pattern) or name.endswith("." + pattern)


def _chosen(name: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    wanted = not include or any(_matches(name, pattern) for pattern in include)
    return wanted and not any(_matches(name, pattern) for pattern in exclude)
