"""Prune a model that does not fit in memory: weights arrive with their layer and leave with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from digsite.prune.core.layers import Block, all_maps, blocks, decoder_stack
from digsite.prune.subjects.language import Language, hugging_face
from digsite.prune.subjects.shards import Entry, ShardWriter, entries


class Streamed:
    """A residency for `walk`: reads a layer before it runs, writes it when it is done, and empties it.

    Weights outside of the layers (embeddings) are read for their own call only.
    """

    def __init__(self, model: nn.Module, stored: dict[str, Entry], writer: ShardWriter | None) -> None:
        self.model, self.stored, self.writer = model, stored, writer
        self.inside = tuple(f"{block.name}." for block in blocks(model))
        self._handles = [
            handle
            for name, module in model.named_modules()
            if not f"{name}.".startswith(self.inside)
            for handle in self._visitors(name, module)
        ]

    def load(self, block: Block) -> None:
        self._fill(block.module, block.name)

    def release(self, block: Block) -> None:
        if self.writer is not None:
            for name, parameter in block.module.named_parameters():
                stored = self.stored_name(f"{block.name}.{name}")
                self.writer.add({stored: parameter.detach().to(self.stored[stored].dtype)})
            self.writer.flush()
        _empty(block.module)

    def read_maps(self) -> Iterator[tuple[str, Tensor]]:
        """The weights of the prunable maps, one after the other in the order of their names."""
        for one in sorted(all_maps(self.model), key=lambda one: one.name):
            yield one.name, self.stored[self.stored_name(f"{one.name}.weight")].read()

    def write_rest(self) -> None:
        """Everything that is not in a layer, as it was."""
        if self.writer is None:
            return
        for name, entry in self.stored.items():
            if not name.startswith(self.inside):
                self.writer.add({name: entry.read()})

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _visitors(self, name: str, module: nn.Module) -> Iterator[torch.utils.hooks.RemovableHandle]:
        if not any(True for _ in module.parameters(recurse=False)):
            return
        yield module.register_forward_pre_hook(lambda m, _: self._fill(m, name, recurse=False))
        yield module.register_forward_hook(lambda m, _, __: _empty(m, recurse=False))

    def _fill(self, module: nn.Module, prefix: str, recurse: bool = True) -> None:
        for name, parameter in list(module.named_parameters(recurse=recurse)):
            if parameter.is_meta:
                _put(
                    module,
                    name,
                    self.stored[self.stored_name(f"{prefix}.{name}" if prefix else name)].read().float(),
                )

    def stored_name(self, name: str) -> str:
        """Some folders leave out the outer module's name (GPT-2's `transformer.`)."""
        if name in self.stored:
            return name
        shorter = name.partition(".")[2]
        assert shorter in self.stored, f"no weights for '{name}'"
        return shorter


def _put(module: nn.Module, name: str, tensor: Tensor) -> None:
    path, _, last = name.rpartition(".")
    setattr(module.get_submodule(path), last, nn.Parameter(tensor, requires_grad=False))


def _empty(module: nn.Module, recurse: bool = True) -> None:
    for name, parameter in list(module.named_parameters(recurse=recurse)):
        _put(module, name, torch.empty_like(parameter, device="meta"))


class _EmptyIsMeta(TorchFunctionMode):
    """`torch.empty`, from which weight matrices are made, takes no memory; computed buffers stay real."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


@contextmanager
def hollow_parameters() -> Iterator[None]:
    """Modules made inside get parameters without memory, and real buffers (rotary tables are not in any file)."""
    original = nn.Module.register_parameter

    def register(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        hollow = param if param is None else nn.Parameter(param.detach().to("meta"), requires_grad=False)
        original(self, name, hollow)

    nn.Module.register_parameter = register
    try:
        with _EmptyIsMeta():
            yield
    finally:
        nn.Module.register_parameter = original


def open_streamed(folder: Path) -> tuple[Language, dict[str, Entry]]:
    """A Hugging Face model whose weights stay on disk."""

    def load(config: object) -> nn.Module:
        from transformers import AutoModelForCausalLM

        with hollow_parameters():
            return AutoModelForCausalLM.from_config(config)

    language = hugging_face(folder, load)
    assert decoder_stack(language.model) is not None, "a streamed model has decoder layers"
    return language, entries(folder)
