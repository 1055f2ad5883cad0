"""Prune a model that does not fit in memory: weights arrive with their layer and leave with it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from digsite.base.errors import UsageError
from digsite.models.layouts import assemble_hollow
from digsite.models.opening import Opened, huggingface, one_sentence, quiet_libraries
from digsite.models.opening.huggingface import tokenizer_beside
from digsite.models.opening.opened import of_own_layout
from digsite.prune.core.layers import LayerBlock, all_maps, layer_stacks, list_blocks
from digsite.prune.subjects.language import Language, as_language
from digsite.prune.subjects.shards import DecodedTensor, ShardWriter, StoredTensor, list_decoded, list_stored
from digsite.weights import WeightBundle
from digsite.weights.bundle import say_unread


class StreamedWeights:
    """A residency for `walk`: reads a layer before it runs, writes it when it is done, and empties it.

    Weights outside of the layers (embeddings) are read for their own call only. `tied` maps names that no file holds
    to those that stand for them. `change`, where it is set, may change every weight in place, by its stored name, before it is used.
    """

    def __init__(
        self,
        model: nn.Module,
        stored: Mapping[str, StoredTensor | DecodedTensor],
        writer: ShardWriter | None,
        device: str = "cpu",
        tied: Mapping[str, str] | None = None,
    ) -> None:
        self.tied = dict(tied or {})
        self.change: Callable[[str, Tensor], None] | None = None
        self.model, self.stored, self.writer, self.device = model, stored, writer, device
        self.inside = tuple(f"{block.name}." for block in list_blocks(model))
        self.written: set[str] = set()
        self._refuse_other_names()
        self._handles = [
            handle
            for name, module in model.named_modules()
            if not f"{name}.".startswith(self.inside)
            for handle in self._visitors(name, module)
        ]

    def load(self, block: LayerBlock) -> None:
        """A layer's weights from disk, in float32."""
        self._fill(block.module, block.name)

    def release(self, block: LayerBlock) -> None:
        """The pruned layer goes to the writer and leaves memory."""
        if self.writer is not None:
            for name, parameter in block.module.named_parameters():
                stored = self.stored_name(f"{block.name}.{name}")
                self.writer.add({stored: parameter.detach().to("cpu", self.stored[stored].dtype)})
                self.written.add(stored)
            self.writer.flush()
        _empty_parameters(block.module)

    def read_maps(self) -> Iterator[tuple[str, Tensor]]:
        """The weights of the prunable maps, one after the other in the order of their names."""
        for linear in sorted(all_maps(self.model), key=lambda linear: linear.name):
            yield linear.name, linear.part_of(self.stored[self.stored_name(linear.key)].read())

    def write_rest(self) -> None:
        """Everything that no layer wrote, as it was: embeddings, heads, buffers."""
        if self.writer is None:
            return
        for name, entry in self.stored.items():
            if name not in self.written:
                self.writer.add({name: entry.read()})

    def _refuse_other_names(self) -> None:
        """A folder may store its weights under other names than its modules have (experts one by one)."""
        names = [name for name, _ in self.model.named_parameters() if name.startswith(self.inside)]
        odd = [n for n in names if n not in self.stored and n.partition(".")[2] not in self.stored]
        if odd:
            raise UsageError(
                f"This folder cannot be streamed: it stores {len(odd)} of its tensors under other names than the module "
                f"has, first '{odd[0]}'.",
                hint="Prune it without --stream.",
            )

    def follow_calls(self) -> None:
        """From now on layers, too, come when they are called and leave at once: the model can be called as a whole."""
        self._refuse_missing()
        for block in list_blocks(self.model):
            self._handles += [
                block.module.register_forward_pre_hook(partial(self._fill_before, block.name)),
                block.module.register_forward_hook(lambda m, _, __: _empty_parameters(m)),
            ]

    def _fill_before(self, name: str, module: nn.Module, _: Any) -> None:
        """A layer's own call brings its weights."""
        self._fill(module, name)

    def _refuse_missing(self) -> None:
        """Whoever calls the whole model needs every parameter, and buffers that a file holds would stay as they were made."""
        parameters = [name for name, _ in self.model.named_parameters()]
        missing = [name for name in parameters if self.stored_name(name) not in self.stored]
        held = [name for name in self.model.state_dict() if self.stored_name(name) in self.stored]
        buffers = sorted(
            set(held) - {name for name, _ in self.model.named_parameters(remove_duplicate=False)}
        )
        if missing or buffers:
            raise UsageError(
                f"This folder cannot be streamed: '{(missing or buffers)[0]}' would not come from its files."
            )

    def close(self) -> None:
        """The model is an ordinary one again."""
        for handle in self._handles:
            handle.remove()

    def _visitors(self, name: str, module: nn.Module) -> Iterator[torch.utils.hooks.RemovableHandle]:
        """Parts outside of the layers (embeddings, the head) come when they are called and leave at once."""
        if not any(True for _ in module.parameters(recurse=False)):
            return
        yield module.register_forward_pre_hook(lambda m, _: self._fill(m, name, recurse=False))
        yield module.register_forward_hook(lambda m, _, __: _empty_parameters(m, recurse=False))

    def _fill(self, module: nn.Module, prefix: str, recurse: bool = True) -> None:
        """Only what is not there: a parameter may be shared."""
        for name, parameter in list(module.named_parameters(recurse=recurse)):
            if parameter.is_meta:
                stored = self.stored_name(f"{prefix}.{name}" if prefix else name)
                values = self.stored[stored].read().float()
                if self.change is not None:
                    self.change(stored, values)
                _put_parameter(module, name, values.to(self.device))

    def stored_name(self, name: str) -> str:
        """Some folders leave out the outer module's name (GPT-2's `transformer.`)."""
        name = self.tied.get(name, name)
        if name in self.stored:
            return name
        shorter = name.partition(".")[2]
        return shorter if shorter in self.stored else name


def _put_parameter(module: nn.Module, name: str, tensor: Tensor) -> None:
    """By dotted name; a meta tensor cannot be filled, so the parameter is replaced."""
    path, _, last = name.rpartition(".")
    setattr(module.get_submodule(path), last, nn.Parameter(tensor, requires_grad=False))


def _empty_parameters(module: nn.Module, recurse: bool = True) -> None:
    """Shapes stay, numbers go."""
    for name, parameter in list(module.named_parameters(recurse=recurse)):
        _put_parameter(module, name, torch.empty_like(parameter, device="meta"))


class _EmptyIsMeta(TorchFunctionMode):
    """`torch.empty`, from which weight matrices are made, takes no memory; computed buffers stay real."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Building a model allocates nothing, whatever its modules do in their constructors."""
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


def open_decoded(reference: str, bundle: WeightBundle) -> tuple[Language, dict[str, DecodedTensor]]:
    """A model of one file (a GGUF) whose weights stay there, each decoded when it is used."""
    model = assemble_hollow(bundle)
    if model is None or not layer_stacks(model):
        raise UsageError(
            f"'{reference}' cannot be streamed: its weights are not stored as its network has them."
        )
    folder = Path(str(bundle.meta["path"])) if "path" in bundle.meta else None
    opened = of_own_layout(model, reference, bundle, folder, tuple(say_unread(bundle)))
    return as_language(opened), list_decoded(bundle)


def open_streamed(folder: Path) -> tuple[Language, dict[str, StoredTensor]]:
    """A Hugging Face model whose weights stay on disk."""
    if not (folder / "config.json").is_file():
        raise UsageError(
            f"'{folder}' cannot be streamed: only Hugging Face folders of safetensors are.",
            hint="Prune it without --stream.",
        )
    stored = list_stored(folder)
    with quiet_libraries():
        config = huggingface.read_config(folder)
        made: Any = huggingface.model_class(config, None)
        with one_sentence(f"Building the empty {made.__name__} of '{folder}'"), hollow_parameters():
            model = made._from_config(config).eval()
        tokenizer = huggingface.read_tokenizer(folder) or tokenizer_beside(folder)
    if not layer_stacks(model):
        raise UsageError(
            f"A {made.__name__} has no stack of layers to stream.", hint="Prune it without --stream."
        )
    opened = Opened(
        str(folder),
        huggingface.kind_of(model),
        model,
        None,
        tokenizer,
        folder,
        huggingface.context_of(config),
        processor=huggingface.read_processor(folder),
    )
    return as_language(opened), stored
