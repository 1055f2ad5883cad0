import pytest
import torch
from safetensors.torch import save_file

from digsite.base.errors import NotFound, UsageError
from digsite.decompose import Decomposition, decompose
from digsite.decompose.core.scene import MASKINGS
from digsite.decompose.subjects import targets
from digsite.models import build, parse


def test_importance_says_which_neurons_an_input_needs(exact, batch):
    found = exact.importance(batch)["0"]
    on = targets.build_pairs()[0](batch) > 5e-5  # the fixture's gates rise to one within 1e-4
    assert torch.equal(found[:, :4] > 0.5, on)
    assert not found[:, 4].any()


def test_important_components_alone_give_the_output(exact, batch):
    wanted = targets.build_pairs()(batch)
    for masking in ("ci", "rounded", "stochastic", "unmasked"):
        torch.testing.assert_close(exact.output(batch, masking), wanted, atol=1e-3, rtol=0)
    assert not exact.output(batch, "zero").any()
    assert (exact.output(batch, "random") - wanted).abs().max() > 0.05


def test_only_the_named_modules_are_replaced(exact, batch):
    torch.testing.assert_close(exact.output(batch, "zero", modules=[]), targets.build_pairs()(batch))


def test_an_unknown_masking_or_module_is_answered(exact, batch):
    with pytest.raises(UsageError, match="stochastic"):
        exact.output(batch, "stochastik")
    with pytest.raises(UsageError, match="'7' was not decomposed"):
        exact.components("7")
    assert len(MASKINGS) == 6


def test_switching_a_component_off_silences_its_neuron(exact, batch):
    changed = exact.ablate({"0": [1]})(batch)
    wanted = targets.build_pairs()(batch)
    assert not changed[:, 1].any()
    torch.testing.assert_close(changed[:, [0, 2, 3]], wanted[:, [0, 2, 3]])
    torch.testing.assert_close(exact.edit({"2": {3: 2.0}})(batch)[:, 3], 2 * wanted[:, 3])


def test_keeping_one_component_leaves_one_output(exact, batch):
    assert exact.keep({"0": [2]})(batch).any(0).tolist() == [False, False, True, False]


def test_edits_come_without_hooks_and_leave_the_copy_alone(exact, batch):
    before = exact.output(batch)
    changed = exact.ablate({"0": [0]})
    assert all("forward" not in module.__dict__ for module in changed.modules())
    torch.testing.assert_close(exact.output(batch), before)


def test_a_component_that_is_not_there_is_answered(exact):
    with pytest.raises(UsageError, match="components 0 to 4, not 9"):
        exact.ablate({"0": [9]})


def test_saved_and_loaded_it_is_the_same(exact, batch, tmp_path):
    path = exact.save(tmp_path / "found.safetensors")
    with pytest.raises(UsageError, match="model="):
        Decomposition.load(path)
    again = Decomposition.load(path, model=targets.build_pairs())
    assert torch.equal(again.output(batch), exact.output(batch))
    assert again.config == exact.config


def test_clusters_join_what_acts_together(exact, batch):
    groups = exact.cluster(batch).groups
    assert sorted(sorted(g) for g in groups) == [[("0", c), ("2", c)] for c in range(4)]


def test_a_model_of_ours_needs_no_architecture(tmp_path):
    model = build(parse({"kind": "tms"})).untied()
    found = decompose(model, ["linear*"], data=torch.rand(64, 5), C=6, steps=2, batch=8)
    again = Decomposition.load(found.save(tmp_path / "found.safetensors"))
    x = torch.rand(9, 5)
    assert torch.equal(again.output(x), found.output(x))


def test_other_files_and_missing_files_are_answered(tmp_path):
    save_file({"a": torch.ones(1)}, tmp_path / "a.safetensors")
    with pytest.raises(UsageError, match="is not a decomposition"):
        Decomposition.load(tmp_path / "a.safetensors")
    with pytest.raises(NotFound, match="no decomposition at"):
        Decomposition.load(tmp_path / "b.safetensors")
    with pytest.raises(NotFound):
        Decomposition.load("run:nothing")
