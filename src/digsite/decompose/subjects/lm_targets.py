"""Language-model targets with their text: trained here on the story language, or any causal model by reference."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.config import Config
from digsite.data import stories, text
from digsite.data.tokenizers import Tokenizer, load_tokenizer
from digsite.decompose.config import LmConfig, Recipe, Text
from digsite.decompose.subjects.tasks import Task, next_token, rows
from digsite.models import build, empty
from digsite.models.opening import open_model
from digsite.train import Examples, Member, train_ensemble
from digsite.train.engines import Loss

HELD_OUT = 0.1  # share of a corpus' rows that are kept for judging
STORY_SEEDS = {"train": 0, "test": 1}
State = dict[str, Tensor]


def train(
    model: Config, data: tuple[Tensor, Tensor], recipe: Recipe, seed: int, loss: str | Loss = "next_token"
) -> State:
    """The weights of one target after training on (inputs, answers)."""
    member = Member(
        seed=seed,
        optimizer="adamw",
        lr=recipe.lr,
        weight_decay=recipe.weight_decay,
        schedule="cosine",
        warmup=recipe.warmup,
        batch=recipe.batch,
        steps=recipe.steps,
    )
    done = train_ensemble(lambda: build(model, seed), Examples(*data), [member], loss=loss)
    return dict(done.ensemble.module(0).state_dict())


def story_model(config: LmConfig) -> Config:
    """The target's config, made to fit the story language."""
    return config.target.model_copy(
        update={"vocab": stories.tokenizer().size, "context": config.text.context}
    )


def train_on_stories(config: LmConfig, seed: int) -> State:
    windows = _windows(config.text, "train")
    return train(story_model(config), (windows, windows), config.training, seed)


def story_task(config: LmConfig, state: State) -> Task:
    model = empty(story_model(config))
    model.load_state_dict(state)
    batch = config.decompose.batch
    asked = stories.window_nats(256, config.text.context, STORY_SEEDS["test"], "test")[:, 1:]
    return Task(
        model.eval(),
        rows(_windows(config.text, "train"), batch),
        rows(_windows(config.text, "test", share=0.25), batch),
        next_token,
        stories.tokenizer().token,
        floor=float(asked.mean()),
    )


def _windows(chosen: Text, split: str, share: float = 1.0) -> Tensor:
    return stories.windows(max(1, round(chosen.rows * share)), chosen.context, STORY_SEEDS[split], split)


def loaded_task(config: LmConfig) -> Task:
    """A model that a reference names, on the text that the config names."""
    model, folder = _load(config.model)
    if config.text.source == "stories":
        raise UsageError(
            f"The model '{config.model}' does not speak the story language.",
            hint="Name its text, for example text.source=tinystories or text.source=hub:roneneldan/TinyStories.",
        )
    tokenizer = _tokenizer(config.text.tokenizer, folder, config.model)
    windows = text.windows(_documents(config.text), tokenizer, config.text.context)
    cut = max(1, round(len(windows) * HELD_OUT))
    batch = config.decompose.batch
    return Task(
        model.eval(),
        rows(windows[cut:] if len(windows) > cut else windows, batch),
        rows(windows[:cut], batch),
        next_token,
        lambda token: tokenizer.decode([token]) or str(token),
        config.output,
    )


def _load(reference: str) -> tuple[nn.Module, Path | None]:
    opened = open_model(reference)
    folder = opened.folder
    model = opened.answering("be decomposed")
    return model, folder if folder is None or folder.is_dir() else folder.parent


def _tokenizer(path: str, folder: Path | None, model: str) -> Tokenizer:
    if path or folder:
        return load_tokenizer(Path(path) if path else folder or Path())
    raise UsageError(f"The model '{model}' comes without a tokenizer.", hint="Name one: text.tokenizer=FILE.")


def _documents(chosen: Text) -> list[str]:
    if chosen.source.startswith("hub:"):
        return text.texts(chosen.source.removeprefix("hub:"), chosen.column, limit=chosen.documents)
    return text.documents(chosen.source)[: chosen.documents]
