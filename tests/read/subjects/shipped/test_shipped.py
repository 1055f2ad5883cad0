"""Every reader in the package loads, has a card, and reads networks of its family."""

from importlib.resources import files

import pytest
import torch

from digsite.models import build, parse
from digsite.read import api as desk
from digsite.read import check_invariance, load_reader
from digsite.read.core.population import stack_models

PATHS = [p for p in files(desk.SHIPPED).iterdir() if p.name.endswith(".safetensors")]


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.name)
def test_small_with_a_card_and_measured_scores(path):
    reader = load_reader(str(path))
    assert len(path.read_bytes()) < 500_000
    assert reader.card["scores"].keys() == {t.name for t in reader.tasks}
    assert reader.card["trained_on"] >= 1000 and reader.card["worth"] > 1


def test_an_untrained_network_is_read_as_bad_and_with_its_symmetries():
    model = build(parse({"kind": "mlp", "sizes": [64, 32, 16, 10], "activation": "relu"}))
    people = stack_models([model])
    reader = desk.shipped_for(people)
    assert reader is not None
    rows = reader.predict(people).table.set_index("task")
    assert rows.loc["test_accuracy", "value"] < 0.5
    assert check_invariance(reader, model).set_index("symmetry").loc["permutation", "verdict"] == "holds"


def test_no_reader_pretends_to_know_other_shapes():
    assert (
        desk.shipped_for(stack_models([torch.nn.Sequential(torch.nn.Linear(9, 4), torch.nn.Linear(4, 2))]))
        is None
    )
