"""Read a module as a program of known layers, by symbolic tracing, or find that it is not one.

Tracing runs the user's forward once on proxies. What comes out as a chain of known layers can be computed for
all members by hand-chosen kernels; anything else goes the general way, so an unknown step costs speed and never
correctness.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from digsite.train.group import MaskedDropout

Function = Callable[..., Tensor]
ELEMENTWISE: frozenset[Any] = frozenset(
    (
        F.relu,
        torch.relu,
        F.tanh,
        torch.tanh,
        F.sigmoid,
        torch.sigmoid,
        F.gelu,
        F.leaky_relu,
        F.silu,
        F.elu,
        F.softplus,
    )
)
ELEMENTWISE_MODULES = (
    nn.ReLU,
    nn.Tanh,
    nn.Sigmoid,
    nn.GELU,
    nn.LeakyReLU,
    nn.SiLU,
    nn.ELU,
    nn.Softplus,
    nn.Identity,
)
POOLS: frozenset[Any] = frozenset((F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d))
POOL_MODULES = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
ADDITIONS: frozenset[Any] = frozenset((operator.add, torch.add, operator.iadd))
METHODS = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}


@dataclass(frozen=True)
class Instruction:
    """`result` = `operation` of the named inputs; `module` is the layer's name, `function` what to apply elementwise."""

    result: str
    operation: str
    inputs: tuple[str, ...]
    module: str = ""
    function: Function | None = None


class _Tracer(fx.Tracer):
    """Dropout is a leaf, for its mask comes from outside; so is whatever only checks its input."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, (MaskedDropout, nn.Identity)) or super().is_leaf_module(m, module_qualified_name)


def read_program(model: nn.Module) -> list[Instruction] | None:
    """The model's forward pass in known instructions, the last one "output"; None if any step is unknown."""
    try:
        graph = _Tracer().trace(model)
    except Exception:  # tracing runs the user's forward on proxies, which may fail in any way
        return None
    program = []
    for node in graph.nodes:
        made = _read_placeholder(node) or _read_module_call(node, model) or _read_function_call(node)
        if made is None:
            return None
        program.append(made)
    return program if sum(step.operation == "input" for step in program) == 1 else None


def _read_placeholder(node: fx.Node) -> Instruction | None:
    """The input, or the output where it is a single value."""
    if node.op == "placeholder":
        return Instruction(node.name, "input", ())
    if node.op == "output" and isinstance(node.args[0], fx.Node):
        return Instruction("output", "output", (node.args[0].name,))
    return None


def _read_module_call(node: fx.Node, model: nn.Module) -> Instruction | None:
    """A call of a layer with one input."""
    if node.op != "call_module" or len(node.args) != 1 or node.kwargs:
        return None
    name, inputs = str(node.target), (str(node.args[0]),)
    layer = model.get_submodule(name)
    operation = _name_operation(layer)
    if operation is None:
        return None
    return Instruction(
        node.name, operation, inputs, name, layer if operation in ("elementwise", "pool") else None
    )


def _name_operation(layer: nn.Module) -> str | None:
    """What a layer computes, None where we do not know all of it."""
    # Exact types: a subclass may compute something else.
    if type(layer) is nn.Linear:
        return "linear"
    if type(layer) is nn.Conv2d and layer.groups == 1 and layer.padding_mode == "zeros":
        return "conv"
    if isinstance(layer, MaskedDropout):
        return "dropout"
    if type(layer) in ELEMENTWISE_MODULES or isinstance(layer, nn.Identity):
        return "elementwise"
    if type(layer) in POOL_MODULES:
        return "pool"
    flat = type(layer) is nn.Flatten and (layer.start_dim, layer.end_dim) == (1, -1)
    return "flatten" if flat else None


def _read_function_call(node: fx.Node) -> Instruction | None:
    """A function or method of torch with one input that is known here, or a sum of two."""
    inputs = tuple(a.name for a in node.all_input_nodes)
    rest, target = node.args[1:], METHODS.get(str(node.target)) if node.op == "call_method" else node.target
    if target in ADDITIONS and len(node.args) == len(inputs) == 2 and not node.kwargs:
        return Instruction(node.name, "add", inputs)
    if len(inputs) != 1:
        return None
    if target in ELEMENTWISE or target in POOLS:
        operation = "pool" if target in POOLS else "elementwise"
        if not callable(target) or any(isinstance(a, fx.Node) for a in rest):
            return None
        settings = {name: value for name, value in node.kwargs.items() if name != "inplace"}
        made: Any = partial(_call_with, target, rest, **settings) if rest else partial(target, **settings)
        return Instruction(node.name, operation, inputs, function=made)
    if node.target in ("flatten", torch.flatten) and (rest, node.kwargs) in (
        ((1,), {}),
        ((), {"start_dim": 1}),
    ):
        return Instruction(node.name, "flatten", inputs)
    if node.target in ("mean", torch.mean) and _find_axes(node) in ((-2, -1), (2, 3)):
        return Instruction(node.name, "mean", inputs)
    return None


def _call_with(target: Function, rest: tuple[Any, ...], x: Tensor, **settings: Any) -> Tensor:
    """`target` with its further arguments bound behind the first."""
    return target(x, *rest, **settings)


def _find_axes(node: fx.Node) -> Any:
    """The axes of a mean, wherever they were written."""
    axes: Any = node.args[1] if len(node.args) == 2 else node.kwargs.get("dim", ())
    return tuple(sorted(axes)) if isinstance(axes, (tuple, list)) and len(node.kwargs) < 2 else None
