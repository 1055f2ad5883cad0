"""Story models come out as named weights of the same function, tuned from their own start."""

import torch

from digsite.graft.config import StoriesConfig
from digsite.graft.subjects.story_models import mean_loss, speaker, state_of, story_module, train_story_models
from digsite.graft.subjects.story_skills import SKILLS, told_with

CONFIG = StoriesConfig.model_validate(
    {
        "d_model": 16,
        "d_mlp": 16,
        "n_layers": 1,
        "n_heads": 2,
        "n_kv_heads": 1,
        "context": 24,
        "steps": 4,
        "tuned_steps": 3,
        "batch": 8,
    }
)


def test_parents_are_tuned_from_their_start():
    flat = train_story_models(CONFIG, 2)
    assert set(flat) == {"start", *SKILLS} and all(
        rows.shape == flat["start"].shape for rows in flat.values()
    )
    assert not torch.equal(flat["start"][0], flat["start"][1])
    for skill in SKILLS:
        moved = (flat[skill] - flat["start"]).norm(dim=1)
        apart = (flat["start"][0] - flat["start"][1]).norm()
        assert (moved > 0).all() and (moved < apart).all()


def test_named_weights_are_the_same_function():
    module = story_module(CONFIG)
    flat = torch.cat([p.detach().flatten() for p in module.parameters()])
    rows = told_with((), 4, CONFIG.context, 0)
    state = state_of(module, flat)
    with torch.no_grad():
        torch.testing.assert_close(speaker(module, state)(rows), module(rows))
    assert mean_loss(module, state, rows) > 0
    assert "lm_head.weight" in state and "model.embed_tokens.weight" in state
