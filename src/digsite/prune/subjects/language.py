"""The subject of pruning: a model that runs, with what it reads; of any family that can be opened."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from digsite.data import stories
from digsite.data.fetch import find
from digsite.models.opening import Opened, open_model


@dataclass(frozen=True)
class Language:
    """`tokenizer` is None for a model of the generated stories, whose tokens need no text, and for models of no text.

    `opened` has the rest where the model came from a reference: its family, its folder's files, what was not read.
    """

    model: nn.Module
    tokenizer: Any
    context: int
    folder: Path | None = None
    opened: Opened | None = None

    @property
    def kind(self) -> str:
        return self.opened.kind if self.opened is not None else "causal"

    @property
    def knows_stories(self) -> bool:
        """A model of our own whose vocabulary is that of the generated stories."""
        if self.opened is None:
            return True
        return getattr(getattr(self.model, "config", None), "vocab", None) == stories.tokenizer().size


def load_language(reference: str) -> Language:
    """The model that a reference names, as something that runs."""
    return as_language(open_model(located(reference)))


def as_language(opened: Opened) -> Language:
    """An opened model as the subject of pruning."""
    module = opened.need_module("be run")
    return Language(module, opened.tokenizer, opened.context, opened.folder, opened)


def located(reference: str) -> str:
    """The name of a trained model in the data folder, or a folder without a config, as the file that is meant."""
    if named := find(f"lm/{reference}", "model.safetensors"):
        return str(named)
    path = Path(reference.removeprefix("file:"))
    bare = path.is_dir() and not (path / "config.json").is_file() and (path / "model.safetensors").is_file()
    return str(path / "model.safetensors") if bare else reference
