"""Gates with a function of its own for each component: of its inner activation, or of the module's input vector."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal

from digsite.config import Field
from digsite.decompose.core.gates import Draw, Gate, Shapes

if TYPE_CHECKING:
    from torch import Tensor


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
        index = left.long()
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
