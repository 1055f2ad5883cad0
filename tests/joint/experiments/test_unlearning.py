"""A class whose part is known is forgotten when that part goes, and nothing else is."""

import torch
from torch.nn import functional as F

from digsite.joint.config import PartSurvivalConfig, UnlearningConfig
from digsite.joint.core import differences
from digsite.joint.experiments import part_survival, unlearning
from digsite.models import build, parse
from digsite.read.subjects.planted import JoinedImages
from digsite.train import Ensemble, Member


def classes_in_places(n=6):
    """Images that show their class in two pixels of their own, and a network that reads it through neurons of its own."""
    y = torch.arange(n).repeat(40)
    x = torch.zeros(len(y), n * 2)
    x[torch.arange(len(y)), 2 * y], x[torch.arange(len(y)), 2 * y + 1] = 1.0, 0.5
    first = torch.kron(torch.eye(n), torch.tensor([[1.0, 0.5]]))
    layers = [(first, torch.zeros(n)), (torch.eye(n), torch.zeros(n)), (4 * torch.eye(n), torch.zeros(n))]
    return JoinedImages(x.view(len(y), 1, 3, 4), y, n), layers


def test_the_part_of_a_class_is_found_and_the_others_stay():
    seen, layers = classes_in_places()
    config = UnlearningConfig(most=3)
    parts = unlearning.split_hidden(layers, differences.split_by_answers)
    assert torch.allclose(sum(part for place, part in parts if place == 0), layers[0][0], atol=1e-5)
    for candidates in (parts, unlearning.split_neurons(layers)):
        changed, taken = unlearning.switch_off(layers, candidates, seen, 4, config)
        found = unlearning.answer(changed, seen.x.flatten(1)).argmax(1)
        assert taken == 1 and (found[seen.y == 4] != 4).all() and (found == seen.y)[seen.y != 4].all()


def test_layers_become_the_vector_that_they_were():
    model = build(parse({"kind": "mlp", "sizes": [12, 7, 5, 3]}))
    ensemble = Ensemble(model, (torch.zeros(4, 12), torch.zeros(4, dtype=torch.long)), [Member(steps=1)])
    layers = unlearning.open_layers(ensemble, ensemble.flat[0])
    assert torch.equal(unlearning.close_layers(ensemble, layers), ensemble.flat[0])
    x = torch.randn(5, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(unlearning.answer(layers, x), ensemble.forward_one(0, x))


def test_renumbered_neurons_answer_alike_and_pruned_matrices_lose_their_share():
    config = PartSurvivalConfig()
    model = part_survival.make_model(config)
    weights = {name: value.detach() for name, value in model.named_parameters()}
    order = torch.randperm(config.width, generator=torch.Generator().manual_seed(1))
    again = part_survival.renumber_neurons(weights, order)
    joined = torch.randn(4, weights["l1.weight"].shape[1], generator=torch.Generator().manual_seed(2))

    def answers(w):
        return F.linear(F.linear(joined, w["l1.weight"], w["l1.bias"]).relu(), w["unembed.weight"])

    torch.testing.assert_close(answers(again), answers(weights))
    pruned = part_survival.prune_weights(weights, 0.7)
    assert all(abs(float((w == 0).float().mean()) - 0.7) < 0.02 for w in pruned.values() if w.ndim > 1)
    assert len(part_survival.round_weights(weights, 2)["l1.weight"][0].unique()) <= 3
