"""The model that is dug into: opened once, its weights read one at a time, and fed when it runs and there is data."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from math import prod
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from digsite.base.errors import DigsiteError, UsageError
from digsite.data import load
from digsite.models import build
from digsite.models.configs.dense import MlpConfig
from digsite.models.opening import Opened, locate_model, open_model, take_data
from digsite.models.opening.feeding import Batch
from digsite.models.opening.huggingface import say_unused
from digsite.prune import Recipe
from digsite.prune.judge.perplexity import outputs_of
from digsite.prune.subjects.data import PruneJob, make_batch
from digsite.prune.subjects.language import as_language
from digsite.prune.subjects.streaming import StreamedWeights, open_decoded, open_streamed
from digsite.track import checkpoint_steps
from digsite.train import Member, train_ensemble
from digsite.weights import WeightBundle, parse_reference, read_weights
from digsite.weights.bundle import read_apart, read_dtype, say_unread
from digsite.weights.formats.folder import INDEXES, SINGLES

LARGE = 50_000_000  # parameters; larger models are not trained through, nor compared whole, and leave their weights on disk where they can
PRACTICE = 64  # inputs that a decomposition is trained on, none of which it is judged by
ROWS = 8  # inputs that a model is run on: enough to see what a change does, few enough for a large model
TOGETHER = 2  # of them, where layers are read for each call: more are faster, and their logits over a whole vocabulary lie beside the head
TOKENS = 48
SERIES = 5  # files with steps in their names: from here on a folder is a training and no model
ALONE = (
    ".safetensors",
    ".pt",
    ".pth",
    ".onnx",
    ".gguf",
    ".npz",
    ".h5",
    ".keras",
)  # files that are a model each


@dataclass
class Subject:
    """`text` and `data` name what the model may be fed: a text file or corpus, an image set, arrays."""

    reference: str
    text: str = ""
    data: str = ""
    relatives: str = ""  # a folder of networks that it may descend from
    seed: int = 0
    steps: int = 0  # of its decomposition; 0: as many as the time allows
    streamed: StreamedWeights | None = field(
        default=None, init=False
    )  # where a large model's weights come from

    def __post_init__(self) -> None:
        self.reference = locate_model(
            self.reference
        )  # a trained model of the data folder may be named, as in pruning

    @cached_property
    def opened(self) -> Opened:
        """Weights and, where something knows how they are used, a module; of what cannot be run the weights alone."""
        try:
            if parse_reference(self.reference).is_code:
                return open_model(self.reference)
            return self._open_large(read_weights(self.reference)) or open_model(self.reference)
        except DigsiteError as error:
            if parse_reference(self.reference).is_code:
                raise  # there are no weights but the module's own
            bundle = read_weights(self.reference)
            return Opened(self.reference, "weights", None, bundle, why_not=error.message.rstrip("."))

    def _open_large(self, bundle: WeightBundle) -> Opened | None:
        """A large model whose layers can be read one at a time, which then never lies in memory as a whole; else None."""
        folder = Path(str(bundle.meta.get("path", "")))
        if sum(prod(bundle.shape(name)) for name in bundle.tensors) <= LARGE:
            return None
        is_known = "model_type" in bundle.meta.get("config", {}) and folder.is_dir()
        try:
            language, stored = open_streamed(folder) if is_known else open_decoded(self.reference, bundle)
            streamed = StreamedWeights(language.model, stored, None, tied=bundle.tied)
            streamed.follow_calls()
        except DigsiteError:
            return None
        self.streamed = streamed
        used = {streamed.stored_name(name) for name, _ in language.model.named_parameters()}
        unused = say_unused(stored.keys() - used, bundle)
        assert language.opened is not None
        notes = language.opened.notes or (*say_unread(bundle), *([unused] if unused else ()))
        return replace(language.opened, reference=self.reference, bundle=bundle, notes=notes)

    @property
    def config(self) -> Mapping[str, Any]:
        """What a `config.json` beside the weights says; empty where there is none."""
        bundle = self.opened.bundle
        return {} if bundle is None else bundle.meta.get("config", {}) or {}

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Weights as they are stored, one at a time; a module's buffers are left out."""
        if self.opened.bundle is not None:
            held = self.opened.bundle.tensors
            for name in held:
                yield name, read_apart(held, name)
        elif self.opened.module is not None:
            for name, value in self.opened.module.named_parameters():
                yield name, value.detach()

    def shapes(self) -> Iterator[tuple[str, tuple[int, ...], torch.dtype | None]]:
        """Names, shapes and number formats of the same weights, without reading them where they are on disk."""
        bundle = self.opened.bundle
        if bundle is None:
            for name, value in self.tensors():
                yield name, tuple(value.shape), value.dtype
        else:
            for name in bundle.tensors:
                yield name, bundle.shape(name), read_dtype(bundle, name)

    @property
    def name(self) -> str:
        """What a person calls it: the last word of its reference that says something."""
        scheme, _, target = str(parse_reference(self.reference)).partition(":")
        if scheme != "file":
            return target.rpartition(":")[2]
        path = Path(target)
        return path.parent.name or path.name if path.name in SINGLES else path.name

    @property
    def size(self) -> int:
        """How many numbers its weights are."""
        return sum(prod(shape) for _, shape, _ in self.shapes())

    @cached_property
    def batch(self) -> Batch | None:
        """A few inputs of what was named, or of the default of the model's family; None where there are none."""
        return self._take_rows("test", ROWS)

    @cached_property
    def practice(self) -> Tensor | None:
        """Other inputs, to train on, as the one tensor that the model reads; None where there are none."""
        return main_input(self._take_rows("train", PRACTICE))

    @property
    def inputs(self) -> Tensor:
        """The batch as the one tensor that the model reads."""
        inputs = main_input(self.batch)
        assert inputs is not None, "asked for inputs where there are none"
        return inputs

    @property
    def speaks(self) -> bool:
        """Whether its answers are distributions over many tokens, between which KL is the distance."""
        return (self.opened.is_causal or self.opened.is_masked) and self.answers.ndim == 3

    def _take_rows(self, split: str, count: int) -> Batch | None:
        if self.opened.module is None:
            return None
        try:
            if self.data:
                return take_data(self.opened, self.data, count, self.seed, split)
            job = PruneJob(self.reference, Path(), Recipe(), self.text, count, TOKENS, self.seed)
            return make_batch(job, as_language(self.opened), split, count)
        except DigsiteError:
            if self.text or self.data:
                raise
            return None

    @cached_property
    def answers(self) -> Tensor:
        """The model's own output on the batch: what changed models are compared with."""
        return self.run()

    def run(self) -> Tensor:
        """The model's output on the batch with the weights that it has now; rows go together where its layers are read for each call."""
        batch = self.batch
        if batch is None:
            raise UsageError(
                f"There is nothing to feed '{self.reference}'.", hint="Name it: --text FILE or --data SET."
            )
        at_once = 1 if self.streamed is None else TOGETHER
        with torch.no_grad():
            return outputs_of(self.opened.need_module("be run"), batch, at_once)


def main_input(batch: Batch | None) -> Tensor | None:
    """What a model of one input reads: the batch itself, or its only entry beside masks; None for other batches."""
    if batch is None or isinstance(batch, Tensor):
        return batch
    named = {key: value for key, value in batch.items() if "mask" not in key and key != "token_type_ids"}
    return next(iter(named.values())) if len(named) == 1 else None


def list_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Steps and files of a training that lies in a folder; none where it is a model, or holds too few of them."""
    if not folder.is_dir() or (folder / "config.json").is_file():
        return []
    try:
        steps = checkpoint_steps(folder)
    except DigsiteError:
        return []
    named = all(_STEP_WORD.search(path.name) for _, path in steps)
    return steps if len(steps) >= SERIES and (named or _is_one_training([path for _, path in steps])) else []


_STEP_WORD = re.compile(r"step|checkpoint|ckpt|epoch|iter", re.IGNORECASE)
ALIKE = 0.5  # cosine of neighbours in a training; networks trained apart are near 0


def _is_one_training(paths: list[Path]) -> bool:
    """Whether numbered models follow each other: `net0`, `net1` may as well be networks that were trained apart."""
    try:
        first, second = read_weights(f"file:{paths[-2]}"), read_weights(f"file:{paths[-1]}")
        names = [name for name in first.tensors if name in second.tensors and len(first.shape(name)) > 1]
        same = [name for name in names if first.shape(name) == second.shape(name)]
        pairs = [
            (first.tensors[name].float().flatten(), second.tensors[name].float().flatten())
            for name in same[:SERIES]
        ]
    except DigsiteError:
        return False
    alike = [float(torch.nn.functional.cosine_similarity(a, b, dim=0)) for a, b in pairs]
    return bool(alike) and median(alike) > ALIKE


def list_models(folder: Path) -> list[Path]:
    """Files of weights that lie side by side in a folder, by name; none where the folder is one model, in parts or not."""
    if not folder.is_dir() or any((folder / name).is_file() for name in (*INDEXES, *SINGLES, "config.json")):
        return []
    files = sorted(path for path in folder.iterdir() if path.suffix in ALONE)
    return files if len(files) > 1 else []


SEED, STEPS = 7, 600


@cache
def trained_network() -> nn.Module:
    """An MLP of 64, 48, 32 and 10 neurons after 600 steps of Adam, from a fixed seed: `py:digsite.joint.subjects.model:trained_network`."""
    digits = load("digits")
    config = MlpConfig.model_validate({"sizes": [64, 48, 32, 10]})
    member = Member(seed=SEED, lr=3e-3, steps=STEPS)
    images = (digits.x_train.flatten(1), digits.y_train)
    return train_ensemble(build(config, SEED), images, [member]).ensemble.module(0)
