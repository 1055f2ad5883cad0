"""Token models with what a study asks of them: story models, models by reference, and strings that repeat themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.config import Config
from digsite.data import stories, text
from digsite.data.config import Text
from digsite.data.tokenizers import Tokenizer, load_tokenizer
from digsite.decompose.config import LmConfig, Recipe
from digsite.models import build, empty
from digsite.models.opening import Opened, locate_model, open_model
from digsite.train import Examples, Member, train_ensemble
from digsite.train.engines import Loss
from digsite.weights.writer import read_or_compute

if TYPE_CHECKING:
    from digsite.decompose.core.fit import Sampler

IGNORED = -100  # label of positions at which nothing is asked
Labels = Callable[[Tensor], Tensor]
Words = Callable[[int], str]


@dataclass(frozen=True)
class Task:
    """A token model with what is asked of it. `floor` is the loss that no model can beat, where it is known."""

    model: nn.Module
    sample: Sampler  # tokens (batch, positions) from a generator
    held_out: Sampler  # the same from data that the target never saw
    labels: Labels  # for tokens, the right answer at every position of the logits
    words: Words = str
    output: str = ""
    floor: float | None = None  # nats per answer that no model can beat, where it is known


def label_next_token(tokens: Tensor) -> Tensor:
    """At each position the token that follows; nothing is asked at the last."""
    return torch.cat([tokens[:, 1:], torch.full_like(tokens[:, :1], IGNORED)], 1)


def sample_rows(tokens: Tensor, batch: int) -> Sampler:
    """Random rows of stored tokens."""
    return lambda generator: tokens[torch.randint(len(tokens), (batch,), generator=generator)]


# Language-model targets with their text: trained here on the story language, or any causal model by reference.

HELD_OUT = 0.1  # share of a corpus' rows that are kept for judging
STORY_SEEDS = {"train": 0, "test": 1}
State = dict[str, Tensor]


def train_target(
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


def fit_story_model(config: LmConfig) -> Config:
    """The target's config, made to fit the story language."""
    return config.target.model_copy(
        update={"vocab": stories.story_tokenizer().size, "context": config.text.context}
    )


def train_on_stories(config: LmConfig, seed: int) -> State:
    """A Llama on generated stories, whose entropy is known exactly; from the cache where the same was trained before."""
    model, windows = fit_story_model(config), draw_windows(config.text, "train")
    recipe = {"model": model, "training": config.training, "text": [config.text.context, config.text.rows]}
    stored = read_or_compute(
        {name: str(part) for name, part in recipe.items()} | {"seed": seed},
        lambda: {"target": train_target(model, (windows, windows), config.training, seed)},
        "stories",
    )
    return stored["target"]


def make_story_task(config: LmConfig, state: State) -> Task:
    """The trained model, windows of the training split to decompose on, and of the other to judge on."""
    model = empty(fit_story_model(config))
    model.load_state_dict(state)
    batch = config.decompose.batch
    asked = stories.window_nats(256, config.text.context, STORY_SEEDS["test"], "test")[:, 1:]
    return Task(
        model.eval(),
        sample_rows(draw_windows(config.text, "train"), batch),
        sample_rows(draw_windows(config.text, "test", share=0.25), batch),
        label_next_token,
        stories.story_tokenizer().token,
        floor=float(asked.mean()),
    )


def draw_windows(chosen: Text, split: str, share: float = 1.0) -> Tensor:
    """Rows of tokens of one split."""
    return stories.story_windows(
        max(1, round(chosen.rows * share)), chosen.context, STORY_SEEDS[split], split
    )


def load_task(config: LmConfig) -> Task:
    """A model that a reference names, on the text that the config names."""
    model, opened = load_target(config.model)
    if config.text.source == "stories":
        raise UsageError(
            f"The model '{config.model}' does not speak the story language.",
            hint="Name its text, for example text.source=tinystories or text.source=hub:roneneldan/TinyStories.",
        )
    tokenizer = find_tokenizer(config.text.tokenizer, opened)
    windows = text.cut_windows(read_documents(config.text), tokenizer, config.text.context)
    cut = max(1, round(len(windows) * HELD_OUT))
    batch = config.decompose.batch
    return Task(
        model.eval(),
        sample_rows(windows[cut:] if len(windows) > cut else windows, batch),
        sample_rows(windows[:cut], batch),
        label_next_token,
        lambda token: spell_token(tokenizer, token),
        config.output,
    )


def spell_token(tokenizer: Tokenizer, token: int) -> str:
    """A token as it stands inside of a text, with the space before it if it has one; its number if it has no text.

    A decoder drops the space that begins a text, so the token is decoded twice in a row.
    """
    alone = tokenizer.decode([token])
    twice = tokenizer.decode([token, token])
    inside = twice[len(alone) :] if twice.startswith(alone) else alone
    return inside or str(token)


def load_target(reference: str) -> tuple[nn.Module, Opened]:
    """The module as a function from ids to logits, and what it came with."""
    opened = open_model(locate_model(reference))
    return opened.answering("be decomposed"), opened


def find_tokenizer(path: str, opened: Opened) -> Any:
    """As named, or the model's own: in its file or beside it."""
    if path:
        return load_tokenizer(Path(path))
    if opened.tokenizer is None:
        raise UsageError(
            f"The model '{opened.reference}' comes without a tokenizer.",
            hint="Name one: text.tokenizer=FILE.",
        )
    return opened.tokenizer


def read_documents(chosen: Text) -> list[str]:
    """Texts by name, file or hub dataset."""
    if chosen.source.startswith("hub:"):
        return text.read_hub_texts(chosen.source.removeprefix("hub:"), chosen.column, limit=chosen.documents)
    return text.read_documents(chosen.source)[: chosen.documents]


# Strings that repeat themselves with a period of their own, and how much attention goes where copying needs it.


def draw_strings(n: int, length: int, vocab: int, generator: torch.Generator) -> Tensor:
    """Rows of distinct tokens that start again after a quarter to half of the length, so that no fixed offset helps."""
    order = torch.rand(n, vocab, generator=generator).argsort(-1)
    period = torch.randint(max(2, length // 4), length // 2 + 1, (n, 1), generator=generator)
    return order.gather(1, torch.arange(length)[None] % period)


def find_periods(tokens: Tensor) -> Tensor:
    """Where the first token comes again."""
    return (tokens[:, 1:] == tokens[:, :1]).int().argmax(1) + 1


def label_repeats(tokens: Tensor) -> Tensor:
    """Asked only where the answer has been seen: from the first repeated token on."""
    positions = torch.arange(tokens.shape[1], device=tokens.device)
    return label_next_token(tokens).masked_fill(positions < find_periods(tokens)[:, None], IGNORED)


@contextmanager
def watch_attention(model: nn.Module) -> Iterator[list[Tensor]]:
    """The attention patterns (rows, heads, query, key) of all layers, in the order in which they are computed."""
    seen: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
        for name, module in model.named_modules()
        if name.endswith("pattern")
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def measure_attention(tokens: Tensor, patterns: list[Tensor]) -> dict[str, float]:
    """The best head's mean attention, where something is asked, to each kind of key."""
    asked = label_repeats(tokens) != IGNORED
    return {
        kind: max(
            float((pattern[:, head] * keys).sum(-1)[asked].mean())
            for pattern in patterns
            for head in range(pattern.shape[1])
        )
        for kind, keys in list_key_kinds(tokens).items()
    }


def spread_attention(tokens: Tensor) -> dict[str, float]:
    """Attention spread evenly over all that may be seen."""
    positions = torch.arange(tokens.shape[1], device=tokens.device)
    even = ((positions <= positions[:, None]) / (positions[:, None] + 1.0)).expand(len(tokens), 1, -1, -1)
    return measure_attention(tokens, [even])


def list_key_kinds(tokens: Tensor) -> dict[str, Tensor]:
    """(rows, query, key): the token just before, and every earlier token that followed the cue."""
    positions = torch.arange(tokens.shape[1], device=tokens.device)
    previous = (positions[:, None] - 1 == positions).expand(len(tokens), -1, -1)
    before = torch.cat([torch.full_like(tokens[:, :1], -1), tokens[:, :-1]], 1)
    followed = (before[:, None, :] == tokens[:, :, None]) & (positions <= positions[:, None])
    return {"previous": previous.float(), "induction": followed.float()}
