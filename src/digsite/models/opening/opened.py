"""A model by reference: its weights, where possible a module that runs, and what kind of thing it eats."""

import os
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from torch import nn

from digsite.base.errors import DigsiteError, NotFound, UsageError, require_package
from digsite.data.fetch import find_file
from digsite.models.layouts import UNKNOWN_USE, assemble_module, say_unknown_use
from digsite.models.opening import huggingface
from digsite.models.opening.answering import answer_one_input
from digsite.models.opening.huggingface import one_sentence, quiet_libraries, tokenizer_beside
from digsite.weights import WeightBundle, parse_reference, read_weights
from digsite.weights.bundle import say_unread
from digsite.weights.sources.local import make_module

DEFAULT_CONTEXT = 256


@dataclass(frozen=True)
class Opened:
    """`module` is None where only weights are known, and `why_not` says why. `kind` says how the module is fed:

    causal, masked or encoder (token ids), encoder-decoder (ids and decoder ids), images, sound, or own (whatever the
    user's module takes). `notes` are what a reader must know first: what was not understood, and its share.
    """

    reference: str
    kind: str
    module: nn.Module | None = None
    bundle: WeightBundle | None = None
    tokenizer: Any = None
    folder: Path | None = None
    context: int = DEFAULT_CONTEXT
    why_not: str = ""
    notes: tuple[str, ...] = ()
    processor: dict[str, Any] = field(default_factory=dict)

    @property
    def takes_tokens(self) -> bool:
        """Whether it reads token ids."""
        return self.kind in ("causal", "masked", "encoder", "encoder-decoder")

    @property
    def writes_tokens(self) -> bool:
        """Whether its answers are distributions over tokens; an encoder's are positions in a space."""
        return self.takes_tokens and self.kind != "encoder"

    @property
    def takes_images(self) -> bool:
        """Whether it reads pixels."""
        return self.kind == "images"

    @property
    def takes_sound(self) -> bool:
        """Whether it reads features of sounds."""
        return self.kind == "sound"

    @property
    def is_own(self) -> bool:
        """Whether it is a module of the user's own, which takes whatever it takes."""
        return self.kind == "own"

    @property
    def is_causal(self) -> bool:
        """Whether it says the next token."""
        return self.kind == "causal"

    @property
    def is_masked(self) -> bool:
        """Whether it says tokens that are hidden from it."""
        return self.kind == "masked"

    @property
    def has_decoder(self) -> bool:
        """Whether a decoder reads tokens beside what the encoder reads."""
        return self.kind == "encoder-decoder"

    def need_module(self, purpose: str) -> nn.Module:
        """The module, or one sentence on why there is none.

        `purpose` completes the sentence "... cannot", for example "be run".
        """
        if self.module is None:
            raise UsageError(f"'{self.reference}' cannot {purpose}: {self.why_not}.", hint=NO_MODULE)
        return self.module

    def answering(self, purpose: str) -> nn.Module:
        """The module as a function from its main input to its main output.

        `purpose` as in `need_module`.
        """
        return answer_one_input(self.need_module(purpose), self)


NO_MODULE = "Weights alone can be read and compared, and pruned with --method magnitude."


def open_model(reference: str) -> Opened:
    """Weights and, where something knows how they are used, a module in evaluation mode, in float32.

    No code of a folder is run, no pickle is followed, nothing is asked, and whatever fails inside of a library or of
    the user's factory is one sentence.

    `reference` is a path, `hub:name`, `py:module:name`, `zoo:NAME#0`, `run:ID` or another scheme of
    `digsite.weights`.
    """
    parsed = parse_reference(reference)
    if parsed.is_code:
        return of_module(make_module(parsed.target).eval(), reference)
    bundle = read_weights(_bare_name(reference))
    notes = tuple(say_unread(bundle))
    folder = Path(str(bundle.meta.get("path", "."))) if "path" in bundle.meta else None
    if "model_type" in bundle.meta.get("config", {}) and folder is not None and folder.is_dir():
        try:
            return _of_folder(reference, bundle, folder, notes)
        except huggingface.UnknownArchitecture as error:
            why = error.message.rstrip(".")
            return Opened(reference, "weights", None, bundle, folder=folder, why_not=why, notes=notes)
    return _of_layout(reference, bundle, folder, notes)


def _bare_name(reference: str) -> str:
    """`org/name` that is no path but a model of the hub's local cache is said, not guessed."""
    parsed = parse_reference(reference)
    path = Path(parsed.target).expanduser()
    if parsed.is_file and not path.exists() and ":" not in reference:
        looks_like_a_name = reference.count("/") == 1 and not reference.startswith((".", "/", "~"))
        hint = f"A model of the hub is named hub:{reference}." if looks_like_a_name else ""
        raise NotFound(f"There is no file or folder '{parsed.target}'.", hint=hint)
    return reference


def locate_model(reference: str) -> str:
    """The name of a trained model in the data folder, or a folder without a config, as the file that is meant."""
    if named := find_file(f"lm/{reference}", "model.safetensors"):
        return str(named)
    path = Path(reference.removeprefix("file:"))
    bare = path.is_dir() and not (path / "config.json").is_file() and (path / "model.safetensors").is_file()
    return str(path / "model.safetensors") if bare else reference


def of_module(module: nn.Module, reference: str = "your module") -> Opened:
    """A module at hand: transformers' own say what they eat, any other gets what it is given.

    `reference` is what it is called in messages and reports.
    """
    config = getattr(module, "config", None)
    if hasattr(module, "main_input_name") and hasattr(config, "model_type"):
        return Opened(reference, huggingface.kind_of(module), module, context=huggingface.context_of(config))
    context = getattr(config, "context", DEFAULT_CONTEXT)
    return Opened(reference, "own", module, context=context if isinstance(context, int) else DEFAULT_CONTEXT)


def open_folder(bundle: WeightBundle) -> Opened:
    """What a bundle that was read from a Hugging Face folder is."""
    path = Path(str(bundle.meta.get("path", "")))
    if not path.is_dir():
        raise UsageError(
            f"'{path}' says that it is a {bundle.meta['config'].get('model_type')}, but it is no Hugging Face folder."
        )
    return _of_folder(str(bundle.meta.get("reference", path)), bundle, path, tuple(say_unread(bundle)))


def _of_folder(reference: str, bundle: WeightBundle, folder: Path, notes: tuple[str, ...]) -> Opened:
    """A Hugging Face folder, opened by transformers; its tokenizer, or one of ours that lies beside."""
    require_package("transformers", extra="hub")
    _refuse_larger_than_memory(reference, bundle)
    with quiet_libraries():
        module, unused = huggingface.build_module(folder, bundle)
        tokenizer = huggingface.read_tokenizer(folder)
    more = (unused,) if unused else ()
    return Opened(
        reference,
        huggingface.kind_of(module),
        module,
        bundle,
        tokenizer or tokenizer_beside(folder),
        folder,
        huggingface.context_of(module.config),
        notes=(*notes, *more),
        processor=huggingface.read_processor(folder),
    )


def _refuse_larger_than_memory(reference: str, bundle: WeightBundle) -> None:
    """Said before the first tensor is read: a process that runs out of memory is killed and says nothing."""
    need = 4 * sum(prod(bundle.shape(name)) for name in bundle.tensors)
    have = _physical_memory()
    if need > have:
        raise UsageError(
            f"'{reference}' takes {need / 1e9:.1f} GB as float32, and this machine has {have / 1e9:.1f} GB of memory.",
            hint="`digsite prune --stream` holds one layer at a time, `digsite read` one matrix.",
        )


def _physical_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _of_layout(reference: str, bundle: WeightBundle, folder: Path | None, notes: tuple[str, ...]) -> Opened:
    """A file whose layout is known, as a network of ours. Where none is, weights alone are opened, with the
    reason: reading, comparing and pruning by magnitude need no more.
    """
    try:
        with one_sentence(f"Building the network of '{reference}'"):
            module: Any = assemble_module(bundle)
            if module is None:
                raise UsageError(say_unknown_use(bundle), hint=UNKNOWN_USE)
    except DigsiteError as error:
        why = error.message.rstrip(".")
        return Opened(reference, "weights", None, bundle, folder=folder, why_not=why, notes=notes)
    for parameter in module.parameters():  # the file's own memory must not be changed
        parameter.data = parameter.data.clone().float()
    return of_own_layout(module, reference, bundle, folder, notes)


def of_own_layout(
    module: Any, reference: str, bundle: WeightBundle, folder: Path | None, notes: tuple[str, ...]
) -> Opened:
    """A network of ours with what lies beside its weights: how it is fed, its context, its tokenizer.

    `module` was assembled from `bundle`, which was read from `folder` (a file counts too); `notes` are told first.
    """
    config = getattr(module, "config", None)
    causal = getattr(config, "kind", "") in ("llama", "gpt2")
    context = getattr(config, "context", DEFAULT_CONTEXT)
    tokenizer, why_none = None, ""
    if folder is not None and causal:
        tokenizer = tokenizer_beside(folder)
        tokenizer, why_none = (tokenizer, "") if tokenizer else huggingface.tokenizer_inside(bundle, folder)
    return Opened(
        reference,
        "causal" if causal else "own",
        module,
        bundle,
        tokenizer,
        folder,
        context if isinstance(context, int) else DEFAULT_CONTEXT,
        notes=(*notes, why_none) if why_none else notes,
    )
