"""Stories as tokens: language-model windows, and texts to classify by who holds the thing in the end."""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.base.streams import derive_seed
from digsite.data.grammar import HOLDERS, Story, list_words, tell_story
from digsite.data.tokenizers import WordTokenizer

SPLITS = ("train", "test")
TEST_SHARE = 0.1


def story_tokenizer() -> WordTokenizer:
    """One id per word of the grammar: nothing is ever unknown."""
    return WordTokenizer(list_words())


def draw_stories(n: int, seed: int = 0, split: str = "train") -> list[Story]:
    """The first `n` stories of a seed; no story is in both splits, whatever the seeds."""
    if split not in SPLITS:
        raise UsageError(f"There is no split '{split}' of the stories.", hint="Accepted: train, test.")
    rng = np.random.default_rng(derive_seed(seed, f"stories/{split}"))
    stories: list[Story] = []
    while len(stories) < n:
        story = tell_story(rng)
        if _is_test(story.text) == (split == "test"):
            stories.append(story)
    return stories


def _is_test(text: str) -> bool:
    """By a hash of the text, so a story belongs to one split for all seeds."""
    return blake2b(text.encode(), digest_size=1).digest()[0] < 256 * TEST_SHARE


def story_entropy(stories: list[Story]) -> float:
    """Nats per token that the grammar itself needs, the end-of-story token included: no model does better.

    `stories` are stories of `draw_stories`.
    """
    n_tokens = sum(len(story.words) + 1 for story in stories)
    return sum(sum(story.surprise) for story in stories) / n_tokens


def story_windows(n: int, length: int, seed: int = 0, split: str = "train") -> Int[Tensor, "n length"]:
    """Rows of whole stories, each after a beginning token; a row that is full ends in mid-story.

    Every row begins with a story, so that no token lacks the words that decide it.

    `n` rows of `length` tokens of the split; the same arguments give the same rows.
    """
    words = story_tokenizer()
    rows = [
        [i for story in row for i in (words.bos, *words.ids(story.words))]
        for row in _fill_rows(n, length, seed, split)
    ]
    return torch.tensor([row[:length] for row in rows])


def window_nats(n: int, length: int, seed: int = 0, split: str = "train") -> Float[Tensor, "n length"]:
    """What each token of the same windows costs at best, given the tokens before it in its row."""
    rows = [
        [x for story in row for x in (0.0, *story.surprise)] for row in _fill_rows(n, length, seed, split)
    ]
    return torch.tensor([row[:length] for row in rows])


def _fill_rows(n: int, length: int, seed: int, split: str) -> list[list[Story]]:
    """For each row, as many stories as it takes to fill it."""
    rows: list[list[Story]] = []
    row, filled, block = [], 0, 0
    while len(rows) < n:
        for story in draw_stories(256, derive_seed(seed, "windows", block), split):
            row.append(story)
            filled += len(story.words) + 1
            if filled >= length:
                rows.append(row)
                row, filled = [], 0
        block += 1
    return rows[:n]


@dataclass(frozen=True)
class TextSet:
    """Texts of one length, filled up with `pad`, and their classes."""

    x_train: Int[Tensor, "n length"]
    y_train: Int[Tensor, "n"]
    x_test: Int[Tensor, "m length"]
    y_test: Int[Tensor, "m"]
    class_names: tuple[str, ...]
    vocab: int
    pad: int

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    @property
    def length(self) -> int:
        return self.x_train.shape[1]


def classify_holders(n_train: int = 1500, n_test: int = 500, length: int = 64, seed: int = 0) -> TextSet:
    """Who holds the thing at the end, asked before the last sentence says it; four classes of one size.

    `length` is that of the longest text that is taken. Classes are balanced by keeping the first stories of
    each.
    """
    words = story_tokenizer()
    x_train, y_train = _label_stories(n_train, length, seed, "train", words)
    x_test, y_test = _label_stories(n_test, length, seed, "test", words)
    return TextSet(x_train, y_train, x_test, y_test, HOLDERS, words.size, words.pad)


def _label_stories(n: int, length: int, seed: int, split: str, words: WordTokenizer) -> tuple[Tensor, Tensor]:
    """Stories that do not fit into `length` are left out, not cut: their end decides."""
    if length < 32:
        raise UsageError(f"A text of {length} tokens holds no story.", hint="Use a length of 32 or more.")
    wanted = np.arange(n) % len(HOLDERS)
    rows = torch.full((n, length), words.pad)
    open_rows = {label: list(np.flatnonzero(wanted == label)[::-1]) for label in range(len(HOLDERS))}
    block = 0
    while any(open_rows.values()):
        for story in draw_stories(256, derive_seed(seed, "classification", block), split):
            label = HOLDERS.index(story.holder)
            if story.n_body <= length and open_rows[label]:
                rows[open_rows[label].pop(), : story.n_body] = torch.tensor(
                    words.ids(story.words[: story.n_body])
                )
        block += 1
    return rows, torch.from_numpy(wanted)
