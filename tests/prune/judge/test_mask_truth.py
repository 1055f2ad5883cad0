"""Programs hidden in wider networks say what they said, and masks are scored against what is known of them."""

import pytest
import torch

from digsite.base.errors import NotFound, UsageError
from digsite.data.fetch import find_file
from digsite.prune.core.model import Recipe, prune_model
from digsite.prune.judge.comparison import random_mask, right_counts, score_mask, share_answered
from digsite.prune.subjects.compiled import hide_program, load_compiled

present = pytest.mark.skipif(
    find_file("compiled_programs", "hist.json") is None, reason="compiled programs are not here"
)


def test_scores_by_hand():
    needed = {"a": torch.tensor([[True, True, False, False]])}
    idle = {"a": torch.tensor([[False, False, True, False]])}
    score = score_mask({"a": torch.tensor([[True, False, True, True]])}, needed, idle)
    assert (score.precision, score.recall, score.kept) == (0.5, 0.5, 2)
    assert score.chance == pytest.approx(2 / 3)
    assert right_counts(needed) == {"a": 2} and right_counts(needed, 2.0) == {"a": 0}


def test_a_random_mask_keeps_the_count_and_prefers_what_is_not_zero():
    needed, idle = {"a": torch.zeros(6, 6, dtype=torch.bool)}, {"a": torch.zeros(6, 6, dtype=torch.bool)}
    needed["a"][0], idle["a"][1] = True, True
    mask = random_mask(needed, idle, {"a": 30}, torch.Generator().manual_seed(0))["a"]
    assert mask.sum() == 6 and not mask[2:].any()


@present
def test_the_program_is_right_and_hiding_changes_no_answer():
    model, inputs = load_compiled("hist")
    import numpy as np

    with np.load(find_file("compiled_programs", "hist.npz")) as stored:
        wanted = {tuple(row): out for row, out in zip(stored["ids_5"].tolist(), stored["outputs_5"])}
    said = model(inputs).detach().numpy()
    for row, out in zip(inputs.tolist(), said):
        np.testing.assert_allclose(out, wanted[tuple(row)], atol=1e-4)
    hidden = hide_program("hist", factor=3)
    assert share_answered(hidden.model(hidden.inputs), hidden.wanted) == 1.0
    torch.testing.assert_close(hidden.model(hidden.inputs), hidden.wanted, atol=1e-3, rtol=1e-3)


@present
def test_needed_weights_are_needed_and_idle_ones_are_not():
    hidden = hide_program("hist")
    maps = {name: hidden.model.get_submodule(name) for name in hidden.needed}
    with torch.no_grad():
        for name, module in maps.items():
            module.weight[hidden.idle[name]] = torch.randn(int(hidden.idle[name].sum()))
        torch.testing.assert_close(hidden.model(hidden.inputs), hidden.wanted, atol=1e-3, rtol=1e-3)
        name = "blocks.0.mlp.in"
        maps[name].weight[hidden.needed[name]] = 0
        assert share_answered(hidden.model(hidden.inputs), hidden.wanted) < 0.9
    assert all(not (hidden.needed[n] & hidden.idle[n]).any() for n in maps)


@present
@pytest.mark.parametrize("method", ["magnitude", "wanda", "sparsegpt"])
def test_a_pruner_keeps_the_right_number_everywhere(method):
    hidden = hide_program("hist", most_inputs=64)
    counts = right_counts(hidden.needed, 1.5)
    ledger = prune_model(hidden.model, hidden.inputs, Recipe(method), counts=counts)
    assert {one.name: int((~one.keep).sum()) for one in ledger} == counts
    score = score_mask({one.name: one.keep for one in ledger}, hidden.needed, hidden.idle)
    assert 0 <= score.precision <= 1 and 0 <= score.recall <= 1


@present
def test_programs_that_cannot_be_scored_are_said():
    with pytest.raises(NotFound, match="'nothing' is not on this machine"):
        load_compiled("nothing")
    with pytest.raises(UsageError, match="answers with a number"):
        load_compiled("frac_prevs")
