"""The stacked engine (batched products and grouped convolutions, with autograd), and MLPs with a hand-written backward pass.

Written by hand because autograd's own bookkeeping and its softmax over a short last axis cost more than the arithmetic
of networks this small. Everything between the layers is (K, features, batch), batch last.
"""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from digsite.train.chain import Instruction, read_program
from digsite.train.engines import Engine, Loss, Tensors, cross_entropy, squared_error
from digsite.train.feeds import Batch
from digsite.train.layout import Layout


def _all_train(model: nn.Module) -> bool:
    """Frozen weights are not among the members' rows, which is all that the engines of this file read."""
    return all(parameter.requires_grad for parameter in model.parameters())


class StackedEngine(Engine):
    """Runs the traced program of the model on all members at once."""

    NAME = "stacked"

    def __init__(self, model: nn.Module, layout: Layout, loss: Loss) -> None:
        super().__init__(model, layout, loss)
        program = read_program(model)
        assert program is not None, type(model).__name__
        self.program = program

    @staticmethod
    def supports(model: nn.Module) -> bool:
        return _all_train(model) and read_program(model) is not None

    def gradients(self, flat: Tensor, buffers: Tensors, batch: Batch, masks: Tensors, out: Tensor) -> Tensor:
        params = {n: v.detach().requires_grad_() for n, v in self.layout.views(flat).items()}
        outputs = self._run(params, batch.x, batch.shared, masks)
        y = batch.y.expand(len(flat), *batch.y.shape) if batch.shared else batch.y
        losses = stacked_loss(self.loss, outputs, y)
        leaves = list(params.values())
        grads = torch.autograd.grad(losses.sum(), leaves, allow_unused=True, materialize_grads=True)
        self.layout.join(dict(zip(self.layout.names, grads, strict=True)), out)
        return losses.detach()

    def outputs(self, flat: Tensor, buffers: Tensors, x: Tensor, shared: bool) -> Tensor:
        return self._run(self.layout.views(flat), x, shared, {})

    def _run(self, params: Tensors, x: Tensor, shared: bool, masks: Tensors) -> Tensor:
        run = _Run(self.model, params, masks)
        values = {}
        for step in self.program:
            inputs = [values[name] for name in step.inputs]
            given = Value(x, "shared" if shared else "own")
            values[step.result] = (
                given if step.operation == "input" else getattr(run, step.operation)(step, *inputs)
            )
        return values["output"].tensor


def stacked_loss(loss: Loss, outputs: Tensor, y: Tensor) -> Tensor:
    """Losses (K,): one fused call for the usual ones, vmap for a user's own."""
    if loss is cross_entropy and outputs.dim() == 3:
        # Classes on axis 1: softmax over a short last axis is twenty times slower on a CPU.
        return F.cross_entropy(outputs.transpose(1, 2).contiguous(), y, reduction="none").mean(1)
    if loss is squared_error:
        return (outputs - y).square().flatten(1).mean(1)
    return torch.func.vmap(loss)(outputs, y)


class Value(NamedTuple):
    """`layout` says where the members are: "shared" (B, ...) is the same for all, "own" is (K, B, ...), and "maps" is
    (B, K * channels, height, width), what a grouped convolution reads and writes."""

    tensor: Tensor
    layout: str


class _Run:
    """One pass of the program; each method is one operation."""

    def __init__(self, model: nn.Module, params: Tensors, masks: Tensors) -> None:
        self.model, self.params, self.masks = model, params, masks
        self.size = len(next(iter(params.values())))

    def _own(self, value: Value) -> Tensor:
        if value.layout == "shared":
            return value.tensor.expand(self.size, *value.tensor.shape)
        return (
            value.tensor
            if value.layout == "own"
            else value.tensor.unflatten(1, (self.size, -1)).transpose(0, 1)
        )

    def _maps(self, value: Value) -> Tensor:
        return value.tensor if value.layout == "maps" else self._own(value).transpose(0, 1).flatten(1, 2)

    def elementwise(self, step: Instruction, value: Value) -> Value:
        assert step.function is not None
        return Value(step.function(value.tensor), value.layout)

    def pool(self, step: Instruction, value: Value) -> Value:
        assert step.function is not None
        if value.layout == "shared":
            return Value(step.function(value.tensor), "shared")
        return Value(step.function(self._maps(value)), "maps")

    def linear(self, step: Instruction, value: Value) -> Value:
        weight, bias = self.params[f"{step.module}.weight"], self.params.get(f"{step.module}.bias")
        x = self._own(value)
        lead, x = x.shape[1:-1], x.flatten(1, -2)
        y = torch.bmm(x, weight.mT) if bias is None else torch.baddbmm(bias[:, None], x, weight.mT)
        return Value(y.unflatten(1, lead), "own")

    def conv(self, step: Instruction, value: Value) -> Value:
        layer = self.model.get_submodule(step.module)
        assert isinstance(layer, nn.Conv2d)
        weight, bias = self.params[f"{step.module}.weight"], self.params.get(f"{step.module}.bias")
        weight, bias = weight.flatten(0, 1), None if bias is None else bias.flatten()
        # Grouped for shared images too: one dense convolution would make all maps, but takes 1.4 times as long.
        # Channels last is what makes grouped convolutions fast on a CPU: 1.4 times at 16 members.
        x = self._maps(value).contiguous(memory_format=torch.channels_last)
        return Value(
            F.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation, self.size), "maps"
        )

    def dropout(self, step: Instruction, value: Value) -> Value:
        mask = self.masks.get(f"{step.module}.mask")
        if mask is None:
            return value
        if value.layout == "maps":
            return Value(value.tensor * self._maps(Value(mask, "own")), "maps")
        return Value(self._own(value) * mask, "own")

    def mean(self, _: Instruction, value: Value) -> Value:
        if value.layout != "maps":
            return Value(value.tensor.mean((-2, -1)), value.layout)
        return Value(value.tensor.mean((-2, -1)).unflatten(1, (self.size, -1)).transpose(0, 1), "own")

    def flatten(self, _: Instruction, value: Value) -> Value:
        if value.layout == "shared":
            return Value(value.tensor.flatten(1), "shared")
        return Value(self._own(value).flatten(2), "own")

    def add(self, _: Instruction, left: Value, right: Value) -> Value:
        if left.layout == right.layout:
            return Value(left.tensor + right.tensor, left.layout)
        if "maps" in (left.layout, right.layout):
            return Value(self._maps(left) + self._maps(right), "maps")
        return Value(self._own(left) + self._own(right), "own")

    def output(self, _: Instruction, value: Value) -> Value:
        return Value(self._own(value), "own")


aten = torch.ops.aten


def _relu_backward(grad: Tensor, before: Tensor, after: Tensor) -> Tensor:
    return aten.threshold_backward(grad, after, 0)


def _tanh_backward(grad: Tensor, before: Tensor, after: Tensor) -> Tensor:
    return aten.tanh_backward(grad, after)


def _sigmoid_backward(grad: Tensor, before: Tensor, after: Tensor) -> Tensor:
    return aten.sigmoid_backward(grad, after)


def _gelu_backward(grad: Tensor, before: Tensor, after: Tensor) -> Tensor:
    return aten.gelu_backward(grad, before)


# Each known activation: forward, and gradient from what came before and after it.
ACTIVATIONS: dict[Any, tuple[Any, Any]] = {
    **dict.fromkeys((F.relu, torch.relu, nn.ReLU), (torch.relu, _relu_backward)),
    **dict.fromkeys((F.tanh, torch.tanh, nn.Tanh), (torch.tanh, _tanh_backward)),
    **dict.fromkeys((F.sigmoid, torch.sigmoid, nn.Sigmoid), (torch.sigmoid, _sigmoid_backward)),
    **dict.fromkeys((F.gelu, nn.GELU), (F.gelu, _gelu_backward)),
}


@dataclass(frozen=True)
class Layer:
    """A Linear, then an activation and a dropout, if there are any."""

    module: str
    activation: tuple[Any, Any] | None = None
    dropout: str = ""


class MlpEngine(StackedEngine, Engine):
    """Same outputs as its parent; gradients of cross-entropy and mean squared error by hand."""

    NAME = "mlp"

    def __init__(self, model: nn.Module, layout: Layout, loss: Loss) -> None:
        super().__init__(model, layout, loss)
        self.layers = read_layers(self.program, model)
        self.flat = self.program[1].operation == "flatten"
        self.scratch: dict[tuple[int, ...], Tensor] = {}

    @staticmethod
    def supports(model: nn.Module) -> bool:
        program = read_program(model)
        return _all_train(model) and program is not None and bool(read_layers(program, model))

    def gradients(self, flat: Tensor, buffers: Tensors, batch: Batch, masks: Tensors, out: Tensor) -> Tensor:
        if not self._by_hand(batch):
            return super().gradients(flat, buffers, batch, masks, out)
        params, grads, size = self.layout.views(flat), self.layout.views(out), len(flat)
        inputs, trace = self._run_forward(params, batch, masks, size)
        y = batch.y.expand(size, *batch.y.shape) if batch.shared else batch.y
        losses, grad = (_cross_entropy_gradient if self.loss is cross_entropy else _mse_gradient)(
            inputs[-1], y
        )
        for at in reversed(range(len(self.layers))):
            layer = self.layers[at]
            if layer.dropout and f"{layer.dropout}.mask" in masks:
                grad = grad * masks[f"{layer.dropout}.mask"].mT
            if layer.activation is not None:
                grad = layer.activation[1](grad, *trace[at])
            self._weight_gradient(grad, inputs[at], grads[f"{layer.module}.weight"])
            if f"{layer.module}.bias" in grads:
                torch.sum(grad, 2, out=grads[f"{layer.module}.bias"])
            if at:
                grad = torch.bmm(params[f"{layer.module}.weight"].mT, grad)
        return losses

    def _by_hand(self, batch: Batch) -> bool:
        """Anything unusual (sequences, a user's loss, soft labels) goes through autograd."""
        lead = 1 if batch.shared else 2
        rows = self.flat or batch.x.dim() == lead + 1
        classes = self.loss is cross_entropy and batch.y.dim() == lead and batch.y.dtype == torch.int64
        return rows and (classes or (self.loss is squared_error and batch.y.dim() == lead + 1))

    def _run_forward(
        self, params: Tensors, batch: Batch, masks: Tensors, size: int
    ) -> tuple[list[Tensor], list[tuple[Tensor, Tensor]]]:
        """What each layer receives (the last entry is the output), and each activation's input and output."""
        x = batch.x.flatten(1 if batch.shared else 2)
        values, trace = [x.mT.expand(size, -1, -1) if batch.shared else x.mT], []
        for layer in self.layers:
            weight, bias = params[f"{layer.module}.weight"], params.get(f"{layer.module}.bias")
            if batch.shared and len(values) == 1:
                # One product of all members' first layers with the one mini-batch.
                before = torch.mm(weight.reshape(-1, weight.shape[2]), x.mT).view(size, -1, len(x))
                before = before if bias is None else before.add_(bias[:, :, None])
            elif bias is None:
                before = torch.bmm(weight, values[-1])
            else:
                before = torch.baddbmm(bias[:, :, None], weight, values[-1])
            after = before if layer.activation is None else layer.activation[0](before)
            trace.append((before, after))
            mask = masks.get(f"{layer.dropout}.mask") if layer.dropout else None
            values.append(after if mask is None else after * mask.mT)
        return values, trace

    def _weight_gradient(self, grad: Tensor, value: Tensor, out: Tensor) -> None:
        """grad @ value^T by way of a contiguous buffer: the batched kernel is slow on strided results."""
        shape = tuple(out.shape)
        if shape not in self.scratch or self.scratch[shape].dtype != out.dtype:
            self.scratch[shape] = torch.empty(shape, dtype=out.dtype, device=out.device)
        out.copy_(torch.bmm(grad, value.mT, out=self.scratch[shape]))


def read_layers(program: list[Instruction], model: nn.Module) -> list[Layer]:
    """The program as [flatten] (linear [activation] [dropout])*; empty if it is anything else."""
    layers: list[Layer] = []
    for before, step in pairwise(program):
        if step.inputs != (before.result,):
            return []
        last = layers[-1] if layers else None
        if step.operation == "linear":
            layers.append(Layer(step.module))
        elif last is None:
            if step.operation != "flatten":
                return []
        elif step.operation == "elementwise" and last.activation is None and not last.dropout:
            known = ACTIVATIONS.get(_find_origin(step, model))
            if known is None:
                return []
            layers[-1] = Layer(last.module, known)
        elif step.operation == "dropout" and not last.dropout:
            layers[-1] = Layer(last.module, last.activation, step.module)
        elif step.operation != "output":
            return []
    return layers


def _find_origin(step: Instruction, model: nn.Module) -> Any:
    """The function or module class of an activation with default settings."""
    if step.module:
        layer = model.get_submodule(step.module)
        return type(layer) if not isinstance(layer, nn.GELU) or layer.approximate == "none" else None
    function = step.function
    return function.func if isinstance(function, partial) and not function.keywords else None


def _cross_entropy_gradient(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Losses (K,) and the gradient at logits (K, C, B)."""
    logs = logits.log_softmax(1)
    y = y[:, None]
    losses = logs.gather(1, y).mean((1, 2)).neg_()
    grad = logs.exp_().scatter_add_(1, y, logs.new_full((), -1).expand(y.shape))
    return losses, grad.div_(y.shape[2])


def _mse_gradient(outputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    difference = outputs - y.mT
    share = 1 / (outputs.shape[1] * outputs.shape[2])
    return difference.square().sum((1, 2)) * share, difference.mul_(2 * share)
