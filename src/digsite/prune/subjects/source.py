"""From a config to a model and to the masks of its maps."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from digsite.base.errors import UsageError, name_nearest
from digsite.data import stories
from digsite.models import build, parse
from digsite.prune.config import Pruning, StoryModel
from digsite.prune.core import layers, patterns
from digsite.prune.core.inputs import InputStatistics
from digsite.prune.core.matrix import method_named, prune_matrix
from digsite.prune.core.model import Recipe
from digsite.prune.core.walk import Statistics, walk
from digsite.prune.subjects.calibration import windows
from digsite.prune.subjects.language import Language, load_language
from digsite.train import Member, train_ensemble

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
        recipe = self.recipe
        return prune_matrix(
            weight,
            self.inputs,
            recipe.method,
            pattern=recipe.pattern,
            swap=recipe.swap,
            settings=recipe.settings,
        ).keep


def story_model(config: StoryModel, seed: int) -> dict[str, Tensor]:
    """Train the embedded model; returns its state."""
    model = build(parse(_llama(config)), seed)
    rows = stories.windows(TRAINING_WINDOWS, config.context, seed)
    member = Member(
        seed=seed,
        lr=config.lr,
        batch=config.batch,
        steps=config.steps,
        schedule="cosine",
        warmup=min(20, config.steps),
    )
    return train_ensemble(model, rows, [member], loss="next_token").ensemble.module(0).state_dict()


def _llama(config: StoryModel) -> dict:
    sizes = config.model_dump(include={"d_model", "d_mlp", "n_layers", "n_heads", "n_kv_heads", "context"})
    return {"kind": "llama", "vocab": stories.tokenizer().size, **sizes}


def language_of(config: Pruning, state: dict[str, Tensor] | None) -> Language:
    """The dense model; `state` is the embedded one's, where it is meant."""
    if state is None:
        return load_language(config.model)
    model = build(parse(_llama(config.story)))
    model.load_state_dict(state)
    return Language(model, None, config.story.context)


def recipe_of(config: Pruning, method: str | None = None) -> Recipe:
    name = method or config.method
    return Recipe(method_named(name), patterns.parse(config.sparsity, config.pattern), swap=config.swap)


def masked_maps(
    language: Language, recipe: Recipe, tokens: Tensor, wanted: Sequence[tuple[int, str]] | None = None
) -> list[MaskedMap]:
    """Prune the model in place up to the last wanted (layer, component) and keep what made each wanted mask."""
    found = layers.blocks(language.model)
    names = _wanted_names(found, wanted)
    last = max(i for i, block in enumerate(found) if any(one.name in names for one in block.maps))
    kept: list[MaskedMap] = []

    def visit(block: layers.Block, statistics: Statistics) -> None:
        for one in (one for one in block.maps if one.name in statistics):
            inputs, before = statistics[one.name], one.weight.clone()
            done = prune_matrix(
                before,
                inputs,
                recipe.method,
                pattern=recipe.pattern,
                swap=recipe.swap,
                settings=recipe.settings,
                name=one.name,
            )
            one.replace(done.weight)
            if one.name in names:
                assert done.relative_error is not None
                kept.append(MaskedMap(one.name, done.keep, before, inputs, recipe, done.relative_error))

    walk(language.model, found[: last + 1], tokens, visit)
    return kept


def _wanted_names(found: list[layers.Block], wanted: Sequence[tuple[int, str]] | None) -> set[str]:
    everything = {(i, layers.component(m.name)): m.name for i, block in enumerate(found) for m in block.maps}
    if wanted is None:
        return set(everything.values())
    for layer, component in wanted:
        if not 0 <= layer < len(found):
            raise UsageError(f"There is no layer {layer}; the model has layers 0 to {len(found) - 1}.")
        if (layer, component) not in everything:
            known = layers.components([m.name for m in found[layer].maps])
            raise UsageError(
                f"Layer {layer} has no component '{component}'. {name_nearest(component, known)}"
            )
    return {everything[pair] for pair in wanted}


def calibration_tokens(language: Language, config: Pruning, draw: int = 0) -> Tensor:
    given = config.calibration
    return windows(language, given.text, given.sequences, given.length, config.seed + 1000 * draw).tokens


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
    inputs = InputStatistics(state["square_norms"], state["hessian"], state["n_sequences"], state["n_tokens"])
    keep = state["keep"].to(torch.bool)
    return MaskedMap(state["name"], keep, state["weight"], inputs, recipe, state["relative_error"])
