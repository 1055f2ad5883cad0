"""Gates with one network for all components: of a module, or of the whole model."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal

from digsite.config import Field
from digsite.decompose.core.gates import Draw, Gate, Shapes

if TYPE_CHECKING:
    from torch import Tensor


class Shared(Gate):
    """One MLP per module that gives the logits of all of its components from the module's input vector."""

    NEEDS_INPUTS: ClassVar[bool] = True

    kind: Literal["shared"] = "shared"
    hidden: list[int] = Field(default=[256], min_length=1, description="hidden sizes of each module's MLP")

    def draw_params(self, shapes: Shapes, draw: Draw) -> dict[str, Tensor]:
        """One network a module."""
        params = {}
        for site, shape in shapes.items():
            params |= draw_mlp([shape.d_in, *self.hidden, shape.n], f"{site}/", draw)
        return params

    def compute_logits(
        self, params: dict[str, Tensor], inner: dict[str, Tensor], inputs: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """From the module's input to the logits of all its components."""
        return {site: run_mlp(x, params, f"{site}/") for site, x in inputs.items()}


class GlobalMlp(Gate):
    """One MLP over all modules: it reads the inputs of every module and gives every component's logit."""

    NEEDS_INPUTS: ClassVar[bool] = True
    ALL_AT_ONCE: ClassVar[bool] = True

    kind: Literal["global_mlp"] = "global_mlp"
    hidden: list[int] = Field(default=[256], min_length=1, description="hidden sizes of the one MLP")

    def draw_params(self, shapes: Shapes, draw: Draw) -> dict[str, Tensor]:
        """One network for the whole model."""
        width = sum(shape.d_in for shape in shapes.values())
        return draw_mlp([width, *self.hidden, sum(shape.n for shape in shapes.values())], "", draw)

    def compute_logits(
        self, params: dict[str, Tensor], inner: dict[str, Tensor], inputs: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """All modules' inputs, normalized and joined, so that a component may depend on what other modules see."""
        import torch

        joined = torch.cat([normalize(x) for x in inputs.values()], -1)
        sizes = [acts.shape[-1] for acts in inner.values()]
        return dict(zip(inner, run_mlp(joined, params, "").split(sizes, -1), strict=True))


class GlobalTransformer(Gate):
    """A small transformer over positions: it reads every module's input along the sequence and gives every logit."""

    NEEDS_INPUTS: ClassVar[bool] = True
    ALL_AT_ONCE: ClassVar[bool] = True

    kind: Literal["global_transformer"] = "global_transformer"
    width: int = Field(default=128, gt=0, description="width of the residual stream")
    heads: int = Field(default=4, gt=0, description="attention heads; must divide the width")
    blocks: int = Field(default=2, gt=0, description="number of blocks")

    def draw_params(self, shapes: Shapes, draw: Draw) -> dict[str, Tensor]:
        """Input map, blocks of attention and neurons, output map, all without biases on the stream."""
        width = self.width
        params = draw_mlp([sum(shape.d_in for shape in shapes.values()), width], "in/", draw)
        for i in range(self.blocks):
            params |= draw_mlp([width, 3 * width], f"{i}/qkv/", draw)
            params |= draw_mlp([width, width], f"{i}/mix/", draw)
            params |= draw_mlp([width, 4 * width, width], f"{i}/mlp/", draw)
        return params | draw_mlp([width, sum(shape.n for shape in shapes.values())], "out/", draw)

    def compute_logits(
        self, params: dict[str, Tensor], inner: dict[str, Tensor], inputs: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """The same along the sequence: importance at a position may depend on earlier ones."""
        import torch

        x = run_mlp(torch.cat([normalize(x) for x in inputs.values()], -1), params, "in/")
        for i in range(self.blocks):
            mixed = attend_along(run_mlp(normalize(x), params, f"{i}/qkv/"), self.heads)
            x = x + run_mlp(mixed, params, f"{i}/mix/")
            x = x + run_mlp(normalize(x), params, f"{i}/mlp/")
        sizes = [acts.shape[-1] for acts in inner.values()]
        return dict(zip(inner, run_mlp(normalize(x), params, "out/").split(sizes, -1), strict=True))


def draw_mlp(sizes: list[int], prefix: str, draw: Draw) -> dict[str, Tensor]:
    """Parameters of a plain MLP: He scale for hidden layers, 1/sqrt(fan in) for the last, biases zero."""
    params = {}
    for i, (fan_in, size) in enumerate(pairwise(sizes)):
        gain = 1 if i == len(sizes) - 2 else 2
        params[f"{prefix}w{i}"] = draw(f"{prefix}w{i}", fan_in, size) * (gain / fan_in) ** 0.5
        params[f"{prefix}b{i}"] = draw(f"{prefix}b{i}", size) * 0
    return params


def run_mlp(x: Tensor, params: dict[str, Tensor], prefix: str) -> Tensor:
    """(..., last size) of the MLP under `prefix`, gelu between its layers."""
    from torch.nn import functional as F

    n = sum(key.startswith(f"{prefix}w") for key in params)
    for i in range(n):
        x = x @ params[f"{prefix}w{i}"] + params[f"{prefix}b{i}"]
        x = F.gelu(x) if i < n - 1 else x
    return x


def normalize(x: Tensor) -> Tensor:
    """Root-mean-square normalization, so that modules of different scale count alike."""
    return x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()


def attend_along(qkv: Tensor, heads: int) -> Tensor:
    """Attention in both directions along the last-but-one axis of (..., positions, 3 width), to (..., positions, width).

    A batch without an axis of positions attends to itself only.
    """
    from torch.nn import functional as F

    if qkv.ndim < 3:
        return qkv.chunk(3, -1)[2]
    q, k, v = (part.unflatten(-1, (heads, -1)).movedim(-2, -3) for part in qkv.chunk(3, -1))
    return F.scaled_dot_product_attention(q, k, v).movedim(-3, -2).flatten(-2)
