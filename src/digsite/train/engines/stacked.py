"""Batched matrix products for Linear and grouped convolutions for Conv2d, with autograd through them."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from digsite.train.chain import Instruction, read_program
from digsite.train.engines import Engine, Loss, Tensors, cross_entropy, squared_error
from digsite.train.feeds import Batch
from digsite.train.layout import Layout


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
        return read_program(model) is not None

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
            values[step.result] = given if step.kind == "input" else getattr(run, step.kind)(step, *inputs)
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
    """`kind` says where the members are: "shared" (B, ...) is the same for all, "own" is (K, B, ...), and "maps" is
    (B, K * channels, height, width), what a grouped convolution reads and writes."""

    tensor: Tensor
    kind: str


class _Run:
    """One pass of the program; each method is one kind of instruction."""

    def __init__(self, model: nn.Module, params: Tensors, masks: Tensors) -> None:
        self.model, self.params, self.masks = model, params, masks
        self.size = len(next(iter(params.values())))

    def _own(self, value: Value) -> Tensor:
        if value.kind == "shared":
            return value.tensor.expand(self.size, *value.tensor.shape)
        return (
            value.tensor
            if value.kind == "own"
            else value.tensor.unflatten(1, (self.size, -1)).transpose(0, 1)
        )

    def _maps(self, value: Value) -> Tensor:
        return value.tensor if value.kind == "maps" else self._own(value).transpose(0, 1).flatten(1, 2)

    def elementwise(self, step: Instruction, value: Value) -> Value:
        assert step.function is not None
        return Value(step.function(value.tensor), value.kind)

    def pool(self, step: Instruction, value: Value) -> Value:
        assert step.function is not None
        if value.kind == "shared":
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
        if value.kind == "maps":
            return Value(value.tensor * self._maps(Value(mask, "own")), "maps")
        return Value(self._own(value) * mask, "own")

    def mean(self, _: Instruction, value: Value) -> Value:
        if value.kind != "maps":
            return Value(value.tensor.mean((-2, -1)), value.kind)
        return Value(value.tensor.mean((-2, -1)).unflatten(1, (self.size, -1)).transpose(0, 1), "own")

    def flatten(self, _: Instruction, value: Value) -> Value:
        if value.kind == "shared":
            return Value(value.tensor.flatten(1), "shared")
        return Value(self._own(value).flatten(2), "own")

    def add(self, _: Instruction, left: Value, right: Value) -> Value:
        if left.kind == right.kind:
            return Value(left.tensor + right.tensor, left.kind)
        if "maps" in (left.kind, right.kind):
            return Value(self._maps(left) + self._maps(right), "maps")
        return Value(self._own(left) + self._own(right), "own")

    def output(self, _: Instruction, value: Value) -> Value:
        return Value(self._own(value), "own")
