"""Token windows to calibrate and to evaluate on: generated stories, or text cut at the beginnings of documents."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.base.streams import derive_seed
from digsite.data import stories, text
from digsite.data.tokenizers import Tokenizer
from digsite.models.opening import quiet_libraries
from digsite.prune.subjects.language import Language

LONGEST = 128  # tokens of a window where nothing else is said
PUBLISHED = (128, 2048)  # sequences and tokens of each, in the papers; a model's context may be shorter
HELD_OUT = 0.5  # share of a corpus that is kept for evaluation


@dataclass(frozen=True)
class Windows:
    tokens: Int[Tensor, "windows length"]
    n_bytes: int | None  # of the text behind every token but the first of each window


def window_length(language: Language, length: int) -> int:
    if length > language.context:
        raise UsageError(
            f"A window of {length} tokens is longer than the model's context of {language.context}."
        )
    return length or min(language.context, LONGEST)


def windows(
    language: Language,
    corpus: str,
    n: int,
    length: int,
    seed: int,
    split: str = "train",
    *,
    fewer: bool = False,
    pack: bool = False,
) -> Windows:
    """`n` windows drawn without replacement; calibration ('train') and evaluation ('test') never share a document.

    With `fewer`, a text that has fewer gives what it has. With `pack`, documents follow each other inside a window, as
    in published calibration sets: short ones can then fill long windows.
    """
    length = window_length(language, length)
    if language.tokenizer is None:
        if not language.knows_stories:
            raise UsageError(
                "This model has no tokenizer, so no text can be turned into what it reads.",
                hint="Put its tokenizer into the folder, give token ids (--calibration ids.npy), or prune by magnitude.",
            )
        if corpus:
            raise UsageError(
                f"The text '{corpus}' cannot be read: this model knows only the generated stories."
            )
        return Windows(stories.windows(n, length, derive_seed(seed, f"calibration/{split}"), split), None)
    cut = _pack if pack else _cut
    rows = cut(language, _half(text.documents(corpus or "tinystories"), split), length, n, seed, fewer)
    return Windows(rows, sum(_bytes(language.tokenizer, row[1:].tolist()) for row in rows))


def _bytes(tokenizer: Tokenizer, ids: list[int]) -> int:
    """An unknown character counts as one byte: the tokens do not say which one it was."""
    unknown = getattr(tokenizer, "unknown", getattr(tokenizer, "unk_token_id", None))
    known = [i for i in ids if i != unknown]
    return len(tokenizer.decode(known).encode()) + len(ids) - len(known)


def _half(documents: list[str], split: str) -> list[str]:
    if len(documents) == 1:  # one long text: its halves are the two splits
        middle = len(documents[0]) // 2
        documents = [documents[0][:middle], documents[0][middle:]]
    cut = round(len(documents) * HELD_OUT)
    return documents[:cut] if split == "train" else documents[cut:]


def _pack(
    language: Language, documents: list[str], length: int, n: int, seed: int, fewer: bool
) -> Int[Tensor, "n length"]:
    """Documents in a random order, one behind the other, cut every `length` tokens."""
    stream: list[int] = []
    for index in np.random.default_rng(seed).permutation(len(documents)):
        stream += _encoded(language, documents[index])
        if len(stream) >= n * length:
            break
    return _enough(
        [stream[s : s + length] for s in range(0, len(stream) - length + 1, length)][:n], length, n, fewer
    )


def _encoded(language: Language, document: str) -> list[int]:
    with quiet_libraries():  # a long document is longer than the context, and the library says so each time
        return list(language.tokenizer.encode(document))


def _cut(
    language: Language, documents: list[str], length: int, n: int, seed: int, fewer: bool
) -> Int[Tensor, "n length"]:
    """Beginnings of documents first, as the model has seen them in training; later windows only if those run out."""
    assert language.tokenizer is not None
    order = np.random.default_rng(seed).permutation(len(documents))
    first, later = [], []
    for index in order:
        ids = _encoded(language, documents[index])
        pieces = [ids[s : s + length] for s in range(0, len(ids) - length + 1, length)]
        first += pieces[:1]
        later += pieces[1:]
        if len(first) >= n:
            break
    return _enough([*first, *later][:n], length, n, fewer)


def _enough(found: list[list[int]], length: int, n: int, fewer: bool) -> Int[Tensor, "n length"]:
    if not found:
        raise UsageError(
            f"The calibration text is shorter than one window of {length} tokens.",
            hint="Give more text, or a smaller length.",
        )
    if len(found) < n and not fewer:
        raise UsageError(f"The text has {len(found)} windows of {length} tokens, and {n} were asked for.")
    return torch.tensor(found)
