"""The subject of pruning: from a reference or a config to a model that runs, windows of the tokens it reads, and its masks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from digsite.base.errors import UsageError, name_nearest
from digsite.base.streams import derive_seed
from digsite.data import stories, text
from digsite.data.tokenizers import Tokenizer
from digsite.models import build, parse
from digsite.models.opening import Opened, locate_model, open_model, quiet_libraries
from digsite.prune.config import Pruning, StoryModel
from digsite.prune.core import layers, patterns
from digsite.prune.core.inputs import InputStatistics
from digsite.prune.core.matrix import method_named, prune_matrix
from digsite.prune.core.model import Recipe
from digsite.prune.core.walk import Statistics, walk_blocks
from digsite.train import Member, train_ensemble


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
        """How the model is fed."""
        return self.opened.kind if self.opened is not None else "causal"

    @property
    def is_causal(self) -> bool:
        """Whether it says the next token."""
        return self.opened is None or self.opened.is_causal

    @property
    def knows_stories(self) -> bool:
        """A model of our own whose vocabulary is that of the generated stories."""
        if self.opened is None:
            return True
        return getattr(getattr(self.model, "config", None), "vocab", None) == stories.story_tokenizer().size


def load_language(reference: str) -> Language:
    """The model that a reference names, as something that runs."""
    return as_language(open_model(locate_model(reference)))


def as_language(opened: Opened) -> Language:
    """An opened model as the subject of pruning."""
    module = opened.need_module("be run")
    return Language(module, opened.tokenizer, opened.context, opened.folder, opened)


# Token windows to calibrate and to evaluate on: generated stories, or text cut at the beginnings of documents.

LONGEST = 128  # tokens of a window where nothing else is said
PUBLISHED = (128, 2048)  # sequences and tokens of each, in the papers; a model's context may be shorter
HELD_OUT = 0.5  # share of a corpus that is kept for evaluation


@dataclass(frozen=True)
class Windows:
    """Rows of tokens from a text; bytes are counted because losses per token cannot be compared between
    tokenizers.
    """

    tokens: Int[Tensor, "windows length"]
    n_bytes: int | None  # of the text behind every token but the first of each window


def window_length(language: Language, length: int) -> int:
    """As asked, or the model's context up to a bound; longer than the context is refused, since positions
    beyond it were never trained.
    """
    if length > language.context:
        raise UsageError(
            f"A window of {length} tokens is longer than the model's context of {language.context}."
        )
    if length == 1:
        raise UsageError(
            "A window of one token has no next token to predict.", hint="Give windows of two or more."
        )
    return length or min(language.context, LONGEST)


def draw_windows(
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
        return Windows(
            stories.story_windows(n, length, derive_seed(seed, f"calibration/{split}"), split), None
        )
    cut = _pack_windows if pack else _cut_windows
    rows = cut(
        language, _take_half(text.read_documents(corpus or "tinystories"), split), length, n, seed, fewer
    )
    return Windows(rows, sum(_count_bytes(language.tokenizer, row[1:].tolist()) for row in rows))


def take_stream(language: Language, whole: str, length: int) -> Windows:
    """A text as one stream of tokens, cut every `length`; what does not fill a window is dropped."""
    stream = _encode_document(language, whole)
    rows = [stream[s : s + length] for s in range(0, len(stream) - length + 1, length)]
    tokens = _check_enough(rows, length, len(rows), fewer=False)
    return Windows(tokens, sum(_count_bytes(language.tokenizer, row[1:]) for row in rows))


def _count_bytes(tokenizer: Tokenizer, ids: list[int]) -> int:
    """An unknown character counts as one byte: the tokens do not say which one it was."""
    unknown = getattr(tokenizer, "unknown", getattr(tokenizer, "unk_token_id", None))
    known = [i for i in ids if i != unknown]
    return len(tokenizer.decode(known).encode()) + len(ids) - len(known)


def _take_half(documents: list[str], split: str) -> list[str]:
    """Calibration and scoring never see the same text."""
    if len(documents) == 1:  # one long text: its halves are the two splits
        middle = len(documents[0]) // 2
        documents = [documents[0][:middle], documents[0][middle:]]
    cut = round(len(documents) * HELD_OUT)
    return documents[:cut] if split == "train" else documents[cut:]


def _pack_windows(
    language: Language, documents: list[str], length: int, n: int, seed: int, fewer: bool
) -> Int[Tensor, "n length"]:
    """Documents in a random order, one behind the other, cut every `length` tokens."""
    stream: list[int] = []
    for index in np.random.default_rng(seed).permutation(len(documents)):
        stream += _encode_document(language, documents[index])
        if len(stream) >= n * length:
            break
    return _check_enough(
        [stream[s : s + length] for s in range(0, len(stream) - length + 1, length)][:n], length, n, fewer
    )


def _encode_document(language: Language, document: str) -> list[int]:
    """Token ids of one document."""
    with quiet_libraries():  # a long document is longer than the context, and the library says so each time
        return list(language.tokenizer.encode(document))


def _cut_windows(
    language: Language, documents: list[str], length: int, n: int, seed: int, fewer: bool
) -> Int[Tensor, "n length"]:
    """Beginnings of documents first, as the model has seen them in training; later windows only if those run out."""
    assert language.tokenizer is not None
    order = np.random.default_rng(seed).permutation(len(documents))
    first, later = [], []
    for index in order:
        ids = _encode_document(language, documents[index])
        pieces = [ids[s : s + length] for s in range(0, len(ids) - length + 1, length)]
        first += pieces[:1]
        later += pieces[1:]
        if len(first) >= n:
            break
    return _check_enough([*first, *later][:n], length, n, fewer)


def _check_enough(documents: list[list[int]], length: int, n: int, fewer: bool) -> Int[Tensor, "n length"]:
    """As many windows as were asked for, or one sentence."""
    if not documents:
        raise UsageError(
            f"The calibration text is shorter than one window of {length} tokens.",
            hint="Give more text, or a smaller length.",
        )
    if len(documents) < n and not fewer:
        raise UsageError(f"The text has {len(documents)} windows of {length} tokens, and {n} were asked for.")
    return torch.tensor(documents)


# From a config to a model and to the masks of its maps.

TRAINING_WINDOWS = 4096


@dataclass(frozen=True)
class MaskedMap:
    """A mask with everything that made it: nulls prune again, attribution looks at weights and norms."""

    name: str
    keep: Bool[Tensor, "out in"]
    weight: Float[Tensor, "out in"]  # before pruning
    inputs: InputStatistics
    recipe: Recipe
    relative_error: float

    def prune_again(self, weight: Float[Tensor, "out in"]) -> Bool[Tensor, "out in"]:
        """The same recipe on other weights: what the null of re-pruning asks for."""
        recipe = self.recipe
        return prune_matrix(
            weight,
            self.inputs,
            recipe.method,
            pattern=recipe.pattern,
            swap=recipe.swap,
            settings=recipe.settings,
        ).keep


def train_story_model(config: StoryModel, seed: int) -> dict[str, Tensor]:
    """Train the embedded model; returns its state."""
    model = build(parse(_llama_config(config)), seed)
    rows = stories.story_windows(TRAINING_WINDOWS, config.context, seed)
    member = Member(
        seed=seed,
        lr=config.lr,
        batch=config.batch,
        steps=config.steps,
        schedule="cosine",
        warmup=min(20, config.steps),
    )
    return train_ensemble(model, rows, [member], loss="next_token").ensemble.module(0).state_dict()


def _llama_config(config: StoryModel) -> dict:
    """The config of a model that is trained here."""
    sizes = config.model_dump(include={"d_model", "d_mlp", "n_layers", "n_heads", "n_kv_heads", "context"})
    return {"kind": "llama", "vocab": stories.story_tokenizer().size, **sizes}


def language_of(config: Pruning, state: dict[str, Tensor] | None) -> Language:
    """The dense model; `state` is the embedded one's, where it is meant."""
    if state is None:
        return load_language(config.model)
    model = build(parse(_llama_config(config.story)))
    model.load_state_dict(state)
    return Language(model, None, config.story.context)


def recipe_of(config: Pruning, method: str | None = None) -> Recipe:
    """What a study's settings say, for one method."""
    name = method or config.method
    return Recipe(
        method_named(name),
        patterns.parse_pattern(config.sparsity, config.pattern),
        swap=config.swap,
        settings=config.numbers_of(name),
    )


def mask_maps(
    language: Language, recipe: Recipe, tokens: Tensor, wanted: Sequence[tuple[int, str]] | None = None
) -> list[MaskedMap]:
    """Prune the model in place up to the last wanted (layer, component) and keep what made each wanted mask."""
    blocks = layers.list_blocks(language.model)
    names = _wanted_names(blocks, wanted)
    last = max(i for i, block in enumerate(blocks) if any(linear.name in names for linear in block.maps))
    kept: list[MaskedMap] = []

    def visit(block: layers.LayerBlock, statistics: Statistics) -> None:
        for linear in (linear for linear in block.maps if linear.name in statistics):
            inputs, before = statistics[linear.name], linear.weight.clone()
            done = prune_matrix(
                before,
                inputs,
                recipe.method,
                pattern=recipe.pattern,
                swap=recipe.swap,
                settings=recipe.settings,
                name=linear.name,
            )
            linear.replace(done.weight)
            if linear.name in names:
                assert done.relative_error is not None
                kept.append(MaskedMap(linear.name, done.keep, before, inputs, recipe, done.relative_error))

    walk_blocks(language.model, blocks[: last + 1], tokens, visit)
    return kept


def _wanted_names(blocks: list[layers.LayerBlock], wanted: Sequence[tuple[int, str]] | None) -> set[str]:
    """Names of the maps at (layer, component), all of them where none is named."""
    everything = {
        (i, layers.component_of(m.name)): m.name for i, block in enumerate(blocks) for m in block.maps
    }
    if wanted is None:
        return set(everything.values())
    for layer, component in wanted:
        if not 0 <= layer < len(blocks):
            raise UsageError(f"There is no layer {layer}; the model has layers 0 to {len(blocks) - 1}.")
        if (layer, component) not in everything:
            known = layers.list_components([m.name for m in blocks[layer].maps])
            raise UsageError(
                f"Layer {layer} has no component '{component}'. {name_nearest(component, known)}"
            )
    return {everything[pair] for pair in wanted}


def calibration_tokens(language: Language, config: Pruning, draw: int = 0) -> Tensor:
    """Another `draw` is another sample of the text, which is how calibration noise is measured."""
    given = config.calibration
    return draw_windows(language, given.text, given.sequences, given.length, config.seed + 1000 * draw).tokens


def as_state(masked: MaskedMap) -> dict:
    """Plain data for `run.once`."""
    inputs = masked.inputs
    return {
        "name": masked.name,
        "keep": masked.keep,
        "weight": masked.weight,
        "square_norms": inputs.square_norms,
        "hessian": inputs.hessian,
        "n_sequences": inputs.n_sequences,
        "n_tokens": inputs.n_tokens,
        "relative_error": masked.relative_error,
    }


def from_state(state: dict, recipe: Recipe) -> MaskedMap:
    """A mask that a run had kept."""
    inputs = InputStatistics(state["square_norms"], state["hessian"], state["n_sequences"], state["n_tokens"])
    keep = state["keep"].to(torch.bool)
    return MaskedMap(state["name"], keep, state["weight"], inputs, recipe, state["relative_error"])
