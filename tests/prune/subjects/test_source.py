import pytest
import torch

from digsite.base.errors import UsageError
from digsite.prune.config import Calibration, OneMask, StoryModel
from digsite.prune.subjects import source

SMALL = StoryModel(d_model=16, d_mlp=24, n_layers=2, n_heads=2, n_kv_heads=1, context=16, steps=2, batch=2)
CONFIG = OneMask(story=SMALL, calibration=Calibration(sequences=4))


@pytest.fixture(scope="module")
def state():
    return source.story_model(SMALL, 0)


def test_training_is_repeatable_and_the_model_comes_back(state):
    assert all(torch.equal(a, b) for a, b in zip(state.values(), source.story_model(SMALL, 0).values()))
    language = source.language_of(CONFIG, state)
    assert language.context == 16 and torch.equal(
        language.model.state_dict()["model.norm.weight"], state["model.norm.weight"]
    )


def test_masks_carry_what_made_them(state):
    language = source.language_of(CONFIG, state)
    tokens = source.calibration_tokens(language, CONFIG)
    (one,) = source.masked_maps(language, source.recipe_of(CONFIG), tokens, [(1, "mlp.down_proj")])
    assert torch.equal(one.prune_again(one.weight), one.keep) and one.name == "model.layers.1.mlp.down_proj"
    again = source.from_state(source.as_state(one), one.recipe)
    assert torch.equal(again.prune_again(again.weight), one.keep)
    assert not torch.equal(source.calibration_tokens(language, CONFIG, 1), tokens)


def test_a_component_or_layer_that_is_not_there_is_answered(state):
    language = source.language_of(CONFIG, state)
    tokens = source.calibration_tokens(language, CONFIG)
    for pair, message in (
        ((1, "mlp.donw_proj"), "no component 'mlp.donw_proj'. Did you mean 'mlp.down_proj'"),
        ((7, "mlp.down_proj"), "no layer 7; the model has layers 0 to 1"),
    ):
        with pytest.raises(UsageError, match=message):
            source.masked_maps(language, source.recipe_of(CONFIG), tokens, [pair])


def test_a_trained_model_is_loaded_by_name(data_dir, monkeypatch):
    monkeypatch.setenv("DIGSITE_DATA", str(data_dir))
    language = source.language_of(OneMask(model="stories260K"), None)
    assert language.context == 512 and language.tokenizer is not None
