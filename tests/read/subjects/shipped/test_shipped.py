"""Every reader in the package loads, has a card, and reads networks of its family."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits

from digsite.models import build, parse
from digsite.read import api as desk
from digsite.read import check_invariance, load_reader
from digsite.read.core.population import stack_models

PATHS = sorted(desk.SHIPPED.glob("*.safetensors"))


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.name)
def test_small_with_a_card_and_measured_scores(path):
    reader = load_reader(str(path))
    assert len(path.read_bytes()) < 500_000
    assert reader.card["scores"].keys() == {t.name for t in reader.tasks}
    assert reader.card["trained_on"] >= 1000 or reader.over_recipes
    assert (
        len(reader.card.get("recipes", range(10))) >= 10 and np.isfinite(list(reader.margins.values())).all()
    )


def test_an_untrained_network_is_read_as_bad_and_with_its_symmetries():
    model = build(parse({"kind": "mlp", "sizes": [64, 32, 16, 10], "activation": "relu"}))
    people = stack_models([model])
    reader = desk.shipped_for(people)
    assert reader is not None
    rows = reader.predict(people).table.set_index("task")
    assert rows.loc["test_accuracy", "value"] < 0.5
    assert check_invariance(reader, model).set_index("symmetry").loc["permutation", "verdict"] == "holds"


def test_networks_that_ate_other_pixels_are_outside_and_those_of_its_own_scale_inside():
    """Networks trained on digits of 0 to 16 were once "in the zoo" of networks trained on digits of 0 to 1, 12 of 12."""
    images, labels = load_digits(return_X_y=True)
    verdicts = {}
    for largest in (1, 16):
        networks = [_train_plainly(images * (largest / 16), labels, seed) for seed in range(4)]
        people = stack_models(networks)
        reader = desk.shipped_for(people)
        assert reader is not None
        verdicts[largest] = reader.predict(people).in_zoo
    assert verdicts[1].all() and not verdicts[16].any()


def _train_plainly(x, labels, seed, sizes=(64, 32, 16, 10), activation=torch.nn.ReLU, rate=1e-3, steps=400):
    """A loop of torch alone, as somebody else would write it, on the first 1,200 rows of `x`."""
    torch.manual_seed(seed)
    layers = [part for pair in pairwise(sizes) for part in (torch.nn.Linear(*pair), activation())]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(model.parameters(), rate)
    x, y = torch.as_tensor(x, dtype=torch.float32), torch.tensor(labels)
    for rows in torch.randint(1200, (steps, 64)):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
    return model


def test_an_untrained_network_is_outside_though_its_weights_are_ordinary(tmp_path):
    torch.manual_seed(3)
    fresh = build(parse({"kind": "mlp", "sizes": [64, 32, 32, 10], "activation": "relu"}))
    save_file(fresh.state_dict(), tmp_path / "fresh.safetensors")
    found = desk.read_model(str(tmp_path / "fresh.safetensors"))
    assert found["in_zoo"] is False
    assert [note for note in found["notes"] if "zoo" in note] == [
        "it looks untrained, so it lies outside of every zoo of trained networks: do not trust the numbers above."
    ]


def test_no_reader_pretends_to_know_other_questions():
    """Two classes are another question than ten, and tokens are no images."""
    two = torch.nn.Sequential(torch.nn.Linear(9, 4), torch.nn.Linear(4, 2))
    tokens = build(parse({"kind": "gpt2", "vocab": 10, "d_model": 8, "n_layers": 1, "n_heads": 2}))
    assert desk.shipped_for(stack_models([two])) is None and desk.shipped_for(stack_models([tokens])) is None


def test_a_shape_that_no_zoo_had_is_read_by_running_it_or_from_its_weights_alone(tmp_path):
    """The accuracy lies in the interval of either; a file without code is read from its weights."""
    images, labels = load_digits(return_X_y=True)
    small, y = torch.tensor(images / 16, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(labels)
    x = torch.nn.functional.interpolate(small, size=12, mode="bilinear").flatten(1)
    model = _train_plainly(x, labels, 0, (144, 48, 24, 10), torch.nn.Tanh, rate=3e-3, steps=300)
    accuracy = float((model(x[1200:]).argmax(1) == y[1200:]).float().mean())
    save_file(
        {f"layer{i}.{n}": t for i in (0, 2, 4) for n, t in model[i].state_dict().items()},
        tmp_path / "m.safetensors",
    )
    run, weights = desk.read_model(model), desk.read_model(str(tmp_path / "m.safetensors"))
    for read in (run, weights):
        (row,) = [r for r in read["predictions"] if r["property"] == "test_accuracy"]
        assert row["low"] <= accuracy <= row["high"] and row["high"] - row["low"] < 0.8
        assert "for networks of any recipe" in read["answers"][3]["answer"]
    assert ["the network was run on synthetic inputs." in read["notes"] for read in (run, weights)] == [
        True,
        False,
    ]
