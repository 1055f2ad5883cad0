import pytest
import torch

from digsite.base.errors import UsageError
from digsite.prune.core import layers
from digsite.prune.core.matrix import prune_matrix
from digsite.prune.core.model import Recipe, prune_model
from digsite.prune.core.patterns import parse_pattern


def inputs_of(model, tokens, name):
    seen = []
    handle = model.get_submodule(name).register_forward_pre_hook(
        lambda _, args: seen.append(args[0].detach())
    )
    with torch.no_grad():
        model(tokens)
    handle.remove()
    return seen[0]


@pytest.mark.parametrize("method", ["wanda", "sparsegpt"])
def test_a_model_is_its_matrices_pruned_in_order(llama, tokens, method):
    """Independent re-enactment: prune layer 0 on dense inputs, run the model again, prune layer 1 on what comes out."""
    model, batch = llama(), tokens()
    ledger = prune_model(model, batch, Recipe(method))
    other = llama()
    for layer in (0, 1):
        names = [one.name for one in layers.list_blocks(other)[layer].maps]
        done = {
            n: prune_matrix(other.get_submodule(n).weight.detach(), inputs_of(other, batch, n), method, 0.5)
            for n in names
        }
        for name, pruned in done.items():
            other.get_submodule(name).weight.data = pruned.weight
            line = next(one for one in ledger if one.name == name)
            assert torch.equal(line.keep, pruned.keep)
            assert line.relative_error == pytest.approx(pruned.relative_error, rel=1e-3)
    for a, b in zip(model.parameters(), other.parameters()):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_any_module_and_only_some_maps(mlp):
    x, before = torch.randn(50, 12), mlp.out.weight.clone()
    ledger = prune_model(mlp, x, Recipe("wanda", parse_pattern(pattern="1:2"), include=("shared",)))
    assert [one.name for one in ledger] == ["shared"] and torch.equal(mlp.out.weight, before)
    assert ((mlp.shared.weight != 0).view(12, 6, 2).sum(-1) == 1).all()


def test_magnitude_runs_without_inputs_and_the_others_say_so(llama, tokens):
    assert len(prune_model(llama(), None, Recipe("magnitude"))) == 14
    for recipe in (Recipe("wanda"), Recipe("magnitude", swap=2)):
        with pytest.raises(UsageError, match="no calibration data"):
            prune_model(llama(), None, recipe)


def test_owl_moves_sparsity_between_layers(llama, tokens):
    ledger = prune_model(llama(), tokens(), Recipe("wanda", owl=True, owl_threshold=2.0))
    ratios = sorted({round(one.sparsity, 2) for one in ledger})
    assert ratios[0] < 0.5 < ratios[-1]
    with pytest.raises(UsageError, match="fixes one for all"):
        Recipe("wanda", parse_pattern(pattern="2:4"), owl=True)
    with pytest.raises(UsageError, match="OWL measures"):
        prune_model(llama(), None, Recipe("magnitude", owl=True))


def test_lines_are_told_as_they_come(llama, tokens):
    told = []
    ledger = prune_model(llama(), tokens(), Recipe("ria"), on_map=told.append)
    assert told == ledger and all(0 < one.relative_error < 1 for one in told)
