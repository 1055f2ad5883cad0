"""The model that is dug into: opened once, its weights read one at a time, and fed when it runs and there is data."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from digsite.base.errors import DigsiteError, UsageError
from digsite.models.opening import Opened, open_model, take_data
from digsite.models.opening.feeding import Batch
from digsite.prune import Recipe
from digsite.prune.judge.perplexity import outputs_of
from digsite.prune.subjects.data import PruneJob, make_batch
from digsite.prune.subjects.language import as_language
from digsite.track import checkpoint_steps

ROWS = 8  # inputs that a model is run on: enough to see what a change does, few enough for a large model
TOKENS = 48
SERIES = 5  # files with steps in their names: from here on a folder is a training and no model


@dataclass
class Subject:
    """`text` and `data` name what the model may be fed: a text file or corpus, an image set, arrays."""

    reference: str
    text: str = ""
    data: str = ""
    relatives: str = ""  # a folder of networks that it may descend from
    seed: int = 0

    @cached_property
    def opened(self) -> Opened:
        refuse_series(self.reference)
        return open_model(self.reference)

    @property
    def config(self) -> Mapping[str, Any]:
        """What a `config.json` beside the weights says; empty where there is none."""
        bundle = self.opened.bundle
        return {} if bundle is None else bundle.meta.get("config", {}) or {}

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Weights as they are stored, one at a time; a module's buffers are left out."""
        if self.opened.bundle is not None:
            for name in self.opened.bundle.tensors:
                yield name, self.opened.bundle.tensors[name]
        elif self.opened.module is not None:
            for name, value in self.opened.module.named_parameters():
                yield name, value.detach()

    @cached_property
    def batch(self) -> Batch | None:
        """A few inputs of what was named, or of the default of the model's family; None where there are none."""
        if self.opened.module is None:
            return None
        try:
            if self.data:
                return take_data(self.opened, self.data, ROWS, self.seed, "test")
            job = PruneJob(self.reference, Path(), Recipe(), self.text, ROWS, TOKENS, self.seed)
            return make_batch(job, as_language(self.opened), "test", ROWS)
        except DigsiteError:
            if self.text or self.data:
                raise
            return None

    @cached_property
    def answers(self) -> Tensor:
        """The model's own output on the batch: what changed models are compared with."""
        batch = self.batch
        if batch is None:
            raise UsageError(
                f"There is nothing to feed '{self.reference}'.", hint="Name it: --text FILE or --data SET."
            )
        with torch.no_grad():
            return outputs_of(self.opened.need_module("be run"), batch)


def refuse_series(reference: str) -> None:
    """A folder of checkpoints is a training: another verb answers it."""
    folder = Path(reference.removeprefix("file:")).expanduser()
    if not folder.is_dir() or (folder / "config.json").is_file():
        return
    try:
        steps = checkpoint_steps(folder)
    except DigsiteError:
        steps = []
    if len(steps) >= SERIES:
        raise UsageError(
            f"'{reference}' holds {len(steps)} checkpoints of a training, not one model.",
            hint=f"Follow it: digsite track {reference}. Or name one of its files.",
        )
