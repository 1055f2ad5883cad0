"""A frozen copy of a model whose matching layers can be answered by someone else, call by call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from digsite.base.errors import UsageError, name_nearest
from digsite.base.families import list_members
from digsite.decompose.core.layers import PACKAGE, Layer, find_layer
from digsite.decompose.core.layers.kinds import Linear
from digsite.models.opening.answering import main_output

IDENTITY = ".pre_identity"
Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Site:
    """One matrix that is decomposed: a layer of the model, or an identity inserted before one."""

    name: str
    path: str
    module: nn.Module
    layer: type[Layer]

    @property
    def is_identity(self) -> bool:
        """A place without a matrix of its own, where the stream itself is decomposed."""
        return self.name.endswith(IDENTITY)

    def get_matrix(self) -> Tensor:
        """(d_in, d_out); inside of a call it is the matrix of the weights given to that call."""
        return self.layer.get_matrix(self.module)

    def read_inner(self, x: Any, weight: Tensor) -> Any:
        """Inputs through a matrix (d_in, n), as this kind of layer reads."""
        return self.layer.read_inner(self.module, x, weight)

    def answer_itself(self, x: Any) -> Any:
        """What the module does without anybody in its place."""
        return (
            x
            if self.is_identity
            else self.layer.finish_output(self.module, self.read_inner(x, self.get_matrix()))
        )


Plug = Callable[[Site, Any], Any]


@dataclass
class Early:
    """What the blocks before the first site put out on one input: kept by a first pass, handed out by all that follow.

    No mask changes them, and of a late block of a large model they are most of a pass.
    """

    outputs: list[Any] = field(default_factory=list)
    is_kept: bool = False


class Target:
    """The copy: call it with weights, an input and the sites to be answered by plugs."""

    folded = False
    replays = False  # whether later passes may take early blocks from the first; see `can_replay`
    _early: Early | None = None
    _calls = 0  # of blocks without a site, in the pass that runs
    _met = False  # whether a site was reached in it

    def __init__(
        self, model: nn.Module, patterns: Sequence[str], *, identity: Sequence[str] = (), output: str = ""
    ) -> None:
        self.model = deepcopy(model).requires_grad_(False)
        self.output = output
        self._plugs: Mapping[str, Plug] = {}
        self.sites = {site.name: site for site in find_sites(self.model, patterns, identity)}
        for path in dict.fromkeys(site.path for site in self.sites.values()):
            module = self.model.get_submodule(path)
            # On the instance, so that parameter names stay what they are.
            module.forward = partial(self._answer, path, module.forward)  # type: ignore[method-assign]
        for block in list_plain_blocks(self.model, [site.path for site in self.sites.values()]):
            block.forward = partial(self._pass_block, block.forward)  # type: ignore[method-assign]

    def list_weights(self) -> dict[str, Tensor]:
        """Parameters and buffers by name, as functional calls take them."""
        return {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}

    def list_matrices(self) -> dict[str, Tensor]:
        """Every site's matrix (d_in, d_out)."""
        return {name: site.get_matrix().detach() for name, site in self.sites.items()}

    def __call__(
        self,
        weights: Weights | None,
        x: Any,
        plugs: Mapping[str, Plug] | None = None,
        early: Early | None = None,
    ) -> Tensor:
        """The main output on x, with `plugs` answering at their sites and `weights` in place of the model's
        own; `early` is of this input and these weights.
        """
        with self._plugged(plugs or {}, early):
            args = x if isinstance(x, tuple) else (x,)
            answer = (
                self.model(*args) if weights is None else functional_call(self.model, dict(weights), args)
            )
        if early is not None:
            early.is_kept = True
        return pick_output(answer, self.output)

    @contextmanager
    def _plugged(self, plugs: Mapping[str, Plug], early: Early | None = None) -> Iterator[None]:
        """Hooks are installed once and look here: replacing forwards call by call would defeat a compiler."""
        before, self._plugs = self._plugs, plugs
        self._early, self._calls, self._met = early, 0, False
        fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)  # torch's fused encoder layer never calls its parts
        try:
            yield
        finally:
            self._plugs, self._early = before, None
            torch.backends.mha.set_fastpath_enabled(fast)

    def _answer(self, path: str, original: Callable[[Any], Any], x: Any) -> Any:
        """What is plugged in at this place, or the module itself."""
        self._met = True
        before = path + IDENTITY
        if before in self._plugs:
            x = self._plugs[before](self.sites[before], x)
        return self._plugs[path](self.sites[path], x) if path in self._plugs else original(x)

    def _pass_block(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """A block without a site: before the first site it puts out the same in every pass over an input."""
        early = self._early
        if early is None:
            return original(*args, **kwargs)
        self._calls += 1
        if early.is_kept:
            known = self._calls <= len(early.outputs)
            return early.outputs[self._calls - 1] if known else original(*args, **kwargs)
        answer = original(*args, **kwargs)
        if not self._met:
            early.outputs.append(answer)
        return answer


def list_plain_blocks(model: nn.Module, sites: Sequence[str]) -> list[nn.Module]:
    """Members of the model's outermost lists of layers that neither are nor hold a site."""
    lists = [name for name, m in model.named_modules() if isinstance(m, nn.ModuleList | nn.Sequential)]
    outer = [name for name in lists if not any(is_inside(name, other) for other in lists if other != name)]
    members = [
        (f"{name}.{key}".removeprefix("."), block)
        for name in outer
        for key, block in model.get_submodule(name).named_children()
    ]
    return [block for path, block in members if not any(is_inside(site, path) for site in sites)]


def is_inside(path: str, other: str) -> bool:
    """Whether a module is another one, or one of its parts."""
    return not other or path == other or path.startswith(f"{other}.")


def pick_output(answer: Any, output: str) -> Tensor:
    """The tensor to compare: one of the output's attributes, `idx_n` of a tuple, or its main one where nothing is named."""
    if output.startswith("idx_"):
        answer = answer[int(output.removeprefix("idx_"))]
    elif output:
        answer = getattr(answer, output)
    elif isinstance(answer, Mapping | tuple | list):
        answer = main_output(answer)
    if not isinstance(answer, Tensor):
        accepted = [key for key in dir(answer) if isinstance(getattr(answer, key, None), Tensor)]
        raise UsageError(
            f"The model's output is a {type(answer).__name__}, not a tensor.",
            hint=f"Name one of its attributes with output=...: {', '.join(accepted) or 'idx_0, idx_1'}.",
        )
    return answer


def find_sites(model: nn.Module, patterns: Sequence[str], identity: Sequence[str] = ()) -> Iterator[Site]:
    """Sites in the order of the modules; identities come before their module."""
    paths = [name for name, _ in model.named_modules() if name]
    fit = [path for path in paths if find_layer(model.get_submodule(path)) is not None]
    chosen = {path for pattern in patterns for path in match_paths(pattern, paths, fit)}
    padded = {path for pattern in identity for path in match_paths(pattern, paths, fit)}
    for path in paths:
        module = model.get_submodule(path)
        if path in padded:
            yield Site(path + IDENTITY, path, insert_identity(path, module), Linear)
        if path in chosen:
            yield Site(path, path, module, require_layer(path, module))


def match_paths(pattern: str, paths: Sequence[str], fit: Sequence[str]) -> list[str]:
    """Of what does not match, the nearest that could be decomposed is named."""
    matching = [path for path in paths if fnmatch(path, pattern)]
    if not matching:
        near = name_nearest(pattern, fit) or "No layer of this model can be decomposed."
        raise UsageError(f"No module matches '{pattern}'. {near}")
    return matching


def require_layer(path: str, module: nn.Module) -> type[Layer]:
    """The kind of a layer, or one sentence that says which kinds there are."""
    layer = find_layer(module)
    if layer is None:
        known = ", ".join(list_members(PACKAGE))
        raise UsageError(
            f"The module '{path}' is a {type(module).__name__}, which cannot be decomposed.",
            hint=f"Supported: {known} (convolutions without groups and with zero padding).",
        )
    return layer


def insert_identity(path: str, module: nn.Module) -> nn.Linear:
    """A dense layer that passes on what the module reads; nothing changes but that it can be decomposed."""
    layer = require_layer(path, module)
    if not layer.READS_VECTORS:
        raise UsageError(f"An identity goes before a dense layer, and '{path}' is a {type(module).__name__}.")
    weight = layer.get_matrix(module)
    inserted = nn.Linear(
        weight.shape[0], weight.shape[0], bias=False, dtype=weight.dtype, device=weight.device
    )
    inserted.weight.data = torch.eye(weight.shape[0], dtype=weight.dtype, device=weight.device)
    return inserted.requires_grad_(False)


def check_deterministic(target: Target, x: Any) -> None:
    """A target that answers differently twice has dropout or the like switched on."""
    with torch.no_grad():
        same = torch.equal(target(None, x), target(None, x))
    if not same:
        raise UsageError(
            "The target gives two different outputs for the same input.",
            hint="Call model.eval() first: dropout must be off.",
        )
    target.replays = can_replay(target, x)


@torch.no_grad()
def can_replay(target: Target, x: Any) -> bool:
    """Whether a pass that takes its early blocks from another answers the same: tried, with another input in between, as
    somebody's blocks may also tell each other something on the side. Both passes have plugs: a layer's own product may round
    otherwise.
    """
    early, plugs = Early(), dict.fromkeys(target.sites, Site.answer_itself)
    wanted = target(None, x, plugs, early)
    if not early.outputs:
        return False
    target(None, tuple(part.roll(1, -1) for part in x) if isinstance(x, tuple) else x.roll(1, -1))
    return torch.equal(target(None, x, plugs, early), wanted)


# --- sums of low-rank products kept as factors, so that a wide residual stream is never written out -----------


@dataclass(frozen=True)
class Products:
    """The matrix sum of left @ right, which is only ever multiplied by another matrix from the right."""

    terms: tuple[tuple[Tensor, Tensor], ...]

    def __add__(self, other: Products) -> Products:
        """Terms are collected and not added up."""
        return Products(self.terms + other.terms)

    def __mul__(self, rows: Tensor) -> Products:
        """Scale each row: `rows` is (..., 1)."""
        return Products(tuple((left * rows, right) for left, right in self.terms))

    def __matmul__(self, weight: Tensor) -> Tensor:
        """From the right side on: (left @ (right @ weight)), which is narrow where left @ right would be wide."""
        first, *rest = ((left @ (right @ weight)) for left, right in self.terms)
        return sum(rest, first)

    def write_out(self) -> Tensor:
        """The sum as one tensor."""
        first, *rest = (left @ right for left, right in self.terms)
        return sum(rest, first)
