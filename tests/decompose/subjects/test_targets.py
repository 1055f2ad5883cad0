import pytest
import torch

from digsite.base.errors import DigsiteError, UsageError
from digsite.decompose.config import ToyTarget
from digsite.decompose.judge.contestants import enter_contestant
from digsite.decompose.judge.exam import entry_from_parts
from digsite.decompose.judge.exam.marks import share_right
from digsite.decompose.judge.exam.parts import score_parts
from digsite.decompose.subjects import targets
from digsite.models import build, parse


def target(**settings) -> ToyTarget:
    return ToyTarget.model_validate({"steps": 700, "batch": 256} | settings)


def test_trained_targets_answer_every_feature():
    models = targets.train_targets(target(), [0, 1])
    assert len(models) == 2
    for model in models:
        assert targets.is_sound(target(), model)
        assert torch.equal(model.linear1.weight, model.linear2.weight.T)


def test_a_target_that_learned_nothing_is_refused():
    assert not targets.is_sound(target(), targets.build_untrained(target(), 0))
    with pytest.raises(DigsiteError, match=r"seeds \[5\].*2 attempts"):
        targets.train_targets(target(steps=1, attempts=2), [5])


def test_batches_are_as_sparse_as_asked():
    x = targets.sample_features(target(probability=0.1, low=-1.0), 20_000)(torch.Generator().manual_seed(0))
    assert (x != 0).float().mean() == pytest.approx(0.1, abs=0.005)
    assert x.min() < -0.9


def write(folder, name, tensors):
    from safetensors.torch import save_file

    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / name)
    return str(folder / name)


def test_weights_of_somebody_else_are_the_target(tmp_path):
    own = build(parse({"kind": "tms"})).untied().state_dict()
    one = write(tmp_path, "a.safetensors", own)
    loaded = targets.load_targets(target(pretrained=[one]), 3)
    assert len(loaded) == 3
    assert all(
        torch.equal(value, own[name]) for model in loaded for name, value in model.state_dict().items()
    )
    with pytest.raises(UsageError, match="2 pretrained targets for 3 seeds"):
        targets.load_targets(target(pretrained=[one, one]), 3)
    with pytest.raises(UsageError, match="is no tms of this size: it has x"):
        targets.load_target(target(), write(tmp_path, "b.safetensors", {"x": torch.zeros(2)}))
    with pytest.raises(UsageError, match=r"'linear1.weight' of .* is \(2, 5\)"):
        targets.load_target(target(model={"kind": "tms", "n_features": 6}), one)


def test_the_names_of_the_reference_code_are_understood(tmp_path):
    spec = {"kind": "resid_mlp", "n_features": 7, "d_resid": 30, "d_mlp": 5, "n_layers": 2}
    own = build(parse(spec)).state_dict()
    theirs = {
        name.replace("mlp_in", "input_layer").replace("mlp_out", "output_layer"): value
        for name, value in own.items()
    }
    asked = target(model=spec)
    found = targets.load_target(
        asked, write(tmp_path, "r.safetensors", theirs | {"W_U": own["W_E"].T})
    ).state_dict()
    assert all(torch.equal(value, found[name]) for name, value in own.items())
    with pytest.raises(UsageError, match="an unembedding of its own"):
        targets.load_target(asked, write(tmp_path, "u.safetensors", theirs | {"W_U": 2 * own["W_E"].T}))


def test_multiplying_the_maps_first_is_the_same_residual_mlp():
    model = build(
        parse({"kind": "resid_mlp", "n_features": 7, "d_resid": 30, "d_mlp": 5, "n_layers": 2})
    ).double()
    narrow = targets._Narrow.of(model).double()
    x = torch.randn(9, 7, dtype=torch.float64)
    torch.testing.assert_close(narrow(x), model(x))
    torch.testing.assert_close(targets.untie_maps(narrow).double()(x), model(x), rtol=1e-5, atol=1e-6)


def test_the_exam_knows_a_toys_parts():
    """One part a feature is pure and covers everything; singular vectors, two for five features, cannot."""
    toy = targets.load_toy("tms_5-2", 3)
    eye = torch.eye(5)
    first, last = (toy.model.get_submodule(site).weight.T for site in ("linear1", "linear2"))
    true = entry_from_parts(toy, {"linear1": (eye, first), "linear2": (last, eye)})
    singular = enter_contestant("singular", toy, seed=0, steps=0)
    found, rival = (score_parts(entry, entry.find_alive()) for entry in (true, singular))
    assert found.purity == pytest.approx(1) and found.coverage == pytest.approx(1)
    assert found.alive == found.rank == 10 and rival.alive == 4 and rival.purity < 0.6
    right = share_right(true)
    assert right["unmasked"] == right["rounded"] == 1 > right["zero"]
    assert not toy.is_whole
