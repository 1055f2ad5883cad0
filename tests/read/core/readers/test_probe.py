import numpy as np
import pytest
import read_networks
import torch

from digsite.base.errors import UsageError
from digsite.read.core.population import stack_models
from digsite.read.core.readers import probe


@pytest.mark.parametrize("name", ["relu mlp", "small cnn", "post-norm transformer"])
def test_stacked_networks_answer_like_each_alone(name):
    models = [read_networks.make(name) for _ in range(3)]
    with torch.no_grad():
        next(models[1].parameters()).mul_(2)
    group = stack_models(models).groups[0]
    config = getattr(models[0], "config", None)
    shape = getattr(config, "image", None) or ((1, 4, 4) if name == "relu mlp" else (1, 28, 28))
    x = torch.rand(5, *shape)
    together = probe.run_group(group, x)
    for i, model in enumerate(models):
        assert torch.allclose(together[i], model(x), atol=1e-5)


def test_a_module_in_training_is_run_without_dropout_and_left_as_it_was():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(9, 6), torch.nn.BatchNorm1d(6), torch.nn.Dropout(0.5), torch.nn.Linear(6, 4)
    )
    before = {k: v.clone() for k, v in model.state_dict().items()}
    answers = probe.run_group(
        stack_models([model]).groups[0], torch.rand(20, 9, generator=torch.Generator().manual_seed(1))
    )[0]
    assert all(part.training for part in model.modules())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    plain = model.eval()(torch.rand(20, 9, generator=torch.Generator().manual_seed(1)))
    assert torch.allclose(answers, plain, atol=1e-5)


def test_weights_without_code_cannot_be_probed():
    with pytest.raises(UsageError, match="come without code"):
        probe.run_group(stack_models([{"a.weight": torch.randn(3, 4)}]).groups[0], torch.rand(1, 4))


def test_probes_are_learned_images(sides, monkeypatch):
    monkeypatch.setattr(probe, "STEPS", 10)
    train = sides[0]
    state = probe.fit_probe(train.population, train.labels["test_accuracy"].to_numpy())
    inputs = state["all"].inputs
    assert inputs.shape == (probe.N_PROBES, 1, 8, 8) and 0 <= float(inputs.min()) <= float(inputs.max()) <= 1
    assert np.isfinite(probe.extract_probe(train.population.groups[0], state=state)[1]).all()
