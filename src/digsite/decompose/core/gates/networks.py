"""Gates: a function of its own for each component, or one network for all components of a module or of the whole model.

A function of its own sees the component's inner activation, or the module's input vector; a shared network sees inputs alone.
"""

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


class Linear(Gate):
    """An affine function of the component's inner activation: the cheapest gate."""

    kind: Literal["linear"] = "linear"

    def draw_params(self, shapes: Shapes, draw: Draw) -> dict[str, Tensor]:
        """A slope and a bias for each component."""
        params = {}
        for site, shape in shapes.items():
            params[f"{site}/slope"] = draw(f"{site}/slope", shape.n)
            params[f"{site}/bias"] = draw(f"{site}/bias", shape.n) * 0
        return params

    def compute_logits(
        self, params: dict[str, Tensor], inner: dict[str, Tensor], inputs: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """slope * (x V_c) + bias: importance can only grow with the activation."""
        return {site: acts * params[f"{site}/slope"] + params[f"{site}/bias"] for site, acts in inner.items()}


class Mlp(Gate):
    """One small MLP per component, from the component's inner activation to its logit."""

    kind: Literal["mlp"] = "mlp"
    hidden: list[int] = Field(default=[16], min_length=1, description="hidden sizes of each component's MLP")
    nodes: int = Field(
        default=0, ge=0, description="tabulate each function on this many nodes and interpolate; 0 = exact"
    )

    def draw_params(self, shapes: Shapes, draw: Draw) -> dict[str, Tensor]:
        """He's scale, per component: each has a network of its own from one number to one."""
        params = {}
        for site, shape in shapes.items():
            sizes = [1, *self.hidden]
            for i, (fan_in, size) in enumerate(pairwise(sizes)):
                params[f"{site}/w{i}"] = draw(f"{site}/w{i}", shape.n, fan_in, size) * (2 / fan_in) ** 0.5
                params[f"{site}/b{i}"] = draw(f"{site}/b{i}", shape.n, size) * 0
            params[f"{site}/out"] = draw(f"{site}/out", shape.n, sizes[-1]) / sizes[-1] ** 0.5
            params[f"{site}/bias"] = draw(f"{site}/bias", shape.n) * 0
        return params

    def compute_logits(
        self, params: dict[str, Tensor], inner: dict[str, Tensor], inputs: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Exactly, or from a table of `nodes` values where the network is one-dimensional and the batch is
        large.
        """
        logits = {}
        for site, acts in inner.items():
            own = {k.removeprefix(f"{site}/"): v for k, v in params.items() if k.startswith(f"{site}/")}
            compute = self._interpolate_table if self.nodes else self._compute_exactly
            logits[site] = compute(own, acts)
        return logits

    def _compute_exactly(self, params: dict[str, Tensor], acts: Tensor) -> Tensor:
        """Multiply and sum by hand: as batched matrix products the tiny inner sizes cost three times as much."""
        from torch.nn import functional as F

        x = F.gelu(acts[..., None] * params["w0"][:, 0] + params["b0"])
        for i in range(1, len(self.hidden)):
            x = F.gelu((x.unsqueeze(-2) @ params[f"w{i}"]).squeeze(-2) + params[f"b{i}"])
        return (x * params["out"]).sum(-1) + params["bias"]

    def _interpolate_table(self, params: dict[str, Tensor], acts: Tensor) -> Tensor:
        """Each component's function of one number on a grid over the batch's range, interpolated linearly.

        With 256 nodes it is off by about 3e-5 and two to three times as fast: error functions take a gate's time.
        """
        import torch

        flat = acts.flatten(0, -2)
        low, high = flat.detach().amin(0), flat.detach().amax(0)
        step = (high - low).clamp_min(1e-12) / (self.nodes - 1)
        grid = low + step * torch.arange(self.nodes, device=acts.device, dtype=acts.dtype)[:, None]
        table = self._compute_exactly(params, grid)
        position = (flat - low) / step
        left = position.detach().floor().clamp(0, self.nodes - 2)
        index = left.long().clamp_(0, self.nodes - 2)  # of what is not a number, any: it stays none
        before, after = table.gather(0, index), table.gather(0, index + 1)
        return (before + (position - left) * (after - before)).reshape(acts.shape)


class Active(Gate):
    """One small MLP per component, started so that a component is important exactly where it is active.

    A component whose inner activation is zero adds nothing, so its importance can be zero for free. The gate begins with
    that: logit = peak a^2 / (a^2 + width^2) + MLP(a), the MLP being silent at first, and a the activation in units of
    its root mean square on the first batches. Training then only has to take away what is active and not needed; a gate
    that begins at random has to find both at once, and in networks with steep steps (compiled ones) it does not recover.
    """

    ASKS_FOR_SIZES: ClassVar[bool] = True

    kind: Literal["active"] = "active"
    hidden: int = Field(default=8, gt=0, description="hidden size of each component's MLP")
    width: float = Field(
        default=0.005,
        gt=0,
        description="activation, in units of its root mean square, that counts as half active; steep steps need it small",
    )
    peak: float = Field(default=1.1, gt=0, description="logit of a clearly active component at the start")

    def draw_params(self, shapes: Shapes, draw: Draw) -> dict[str, Tensor]:
        """The hidden layer begins without a say: at the start a gate is its bump alone."""
        params = {}
        for site, shape in shapes.items():
            params[f"{site}/w0"] = draw(f"{site}/w0", shape.n, self.hidden) * 2**0.5
            params[f"{site}/b0"] = draw(f"{site}/b0", shape.n, self.hidden) * 0.5
            params[f"{site}/out"] = draw(f"{site}/out", shape.n, self.hidden) * 0
            params[f"{site}/bias"] = draw(f"{site}/bias", shape.n) * 0
            params[f"{site}/peak"] = draw(f"{site}/peak", shape.n) * 0 + self.peak
            params[f"{site}/unit"] = draw(f"{site}/unit", shape.n) * 0 + 1
        return params

    def calibrate(self, params: dict[str, Tensor], sizes: dict[str, Tensor]) -> None:
        """Measure activations in their own unit; a part that never adds anything has nothing to be important for."""
        for site, (activation, contribution) in sizes.items():
            params[f"{site}/unit"].copy_(1 / activation.clamp_min(1e-6))
            params[f"{site}/peak"].masked_fill_(
                contribution <= 1e-6 * contribution.max().clamp_min(1e-6), 0.0
            )

    def compute_logits(
        self, params: dict[str, Tensor], inner: dict[str, Tensor], inputs: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """`unit` scales activations to their usual size; the bump s^2 / (s^2 + width^2) is near one wherever a
        part is active.
        """
        from torch.nn import functional as F

        logits = {}
        for site, acts in inner.items():
            scaled = acts * params[f"{site}/unit"].detach()
            hidden = F.gelu(scaled[..., None] * params[f"{site}/w0"] + params[f"{site}/b0"])
            squared = scaled.square()
            active = squared / (squared + self.width**2)
            logits[site] = (
                (hidden * params[f"{site}/out"]).sum(-1)
                + params[f"{site}/bias"]
                + params[f"{site}/peak"] * active
            )
        return logits


class Vector(Gate):
    """One MLP per component that sees the module's whole input vector."""

    NEEDS_INPUTS: ClassVar[bool] = True

    kind: Literal["vector"] = "vector"
    hidden: int = Field(default=16, gt=0, description="hidden size of each component's MLP")

    def draw_params(self, shapes: Shapes, draw: Draw) -> dict[str, Tensor]:
        """As the successor project: one wide first map for all components of a module."""
        params = {}
        for site, shape in shapes.items():
            wide = draw(f"{site}/w0", shape.d_in, shape.n * self.hidden)
            params[f"{site}/w0"] = wide * (2 / shape.d_in) ** 0.5
            params[f"{site}/b0"] = draw(f"{site}/b0", shape.n, self.hidden) * 0
            params[f"{site}/out"] = draw(f"{site}/out", shape.n, self.hidden) / self.hidden**0.5
            params[f"{site}/bias"] = draw(f"{site}/bias", shape.n) * 0
        return params

    def compute_logits(
        self, params: dict[str, Tensor], inner: dict[str, Tensor], inputs: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """From the module's whole input, so a component may be important where its own activation is zero."""
        from torch.nn import functional as F

        logits = {}
        for site, x in inputs.items():
            bias = params[f"{site}/b0"]
            hidden = F.gelu((x @ params[f"{site}/w0"]).unflatten(-1, bias.shape) + bias)
            logits[site] = (hidden * params[f"{site}/out"]).sum(-1) + params[f"{site}/bias"]
        return logits
