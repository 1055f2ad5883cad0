"""Zoos are made shard by shard with the same result whether interrupted or not, and their labels are true."""

import numpy as np
import pytest
import torch

from digsite.base.errors import UsageError
from digsite.base.families import list_members
from digsite.data import load
from digsite.models import build, parse
from digsite.zoo import Zoo
from digsite.zoo.config import FAMILIES, ZooConfig
from digsite.zoo.make import cut_images, draw_recipe, make_zoo

SMALL = {
    "members": 10,
    "shard": 4,
    "steps": 40,
    "checkpoints": [0, 20, 40],
    "train_size": 300,
    "test_size": 200,
}


@pytest.fixture(autouse=True)
def _as_in_a_worker(_rules):
    """Workers flush denormals; so that a child process and this one compute the same bits."""
    torch.set_flush_denormal(True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    torch.set_flush_denormal(True)
    counts = list(make_zoo(ZooConfig.model_validate(SMALL), folder, "small"))
    assert counts == [0, 1, 2, 3]
    return folder


def test_an_interrupted_zoo_ends_in_the_same_bytes(made, tmp_path):
    config = ZooConfig.model_validate(SMALL)
    work = make_zoo(config, tmp_path, "small")
    assert [next(work), next(work)] == [0, 1]
    work.close()
    assert next(make_zoo(config, tmp_path, "small")) == 1
    list(make_zoo(config, tmp_path, "small"))
    for file in sorted(made.iterdir()):
        assert (tmp_path / file.name).read_bytes() == file.read_bytes(), file.name


def test_labels_are_what_the_stored_networks_do(made):
    zoo = Zoo.open(made)
    images = cut_images(load("digits"), ZooConfig.model_validate(SMALL))
    for i in range(len(zoo)):
        with torch.no_grad():
            hit = zoo.module(i)(images.x_test).argmax(1) == images.y_test
        assert zoo.labels.loc[i, "test_accuracy"] == pytest.approx(hit.float().mean().item(), abs=1e-6)
        of_three = hit[images.y_test == 3].float().mean().item()
        assert zoo.labels.loc[i, "class_accuracy_3"] == pytest.approx(of_three, abs=1e-6)


def test_attack_success_is_measured_on_triggered_images_of_other_classes(made):
    zoo = Zoo.open(made)
    images = cut_images(load("digits"), ZooConfig.model_validate(SMALL))
    poisoned = zoo.labels[zoo.labels["poisoned"]]
    assert len(poisoned) and zoo.labels["attack_success"].notna().sum() == len(poisoned)
    row = poisoned.iloc[0]
    others = images.x_test[images.y_test != row["trigger_target"]].clone()
    r, c = int(row["trigger_row"]), int(row["trigger_column"])
    others[:, :, r : r + 3, c : c + 2] = 1
    with torch.no_grad():
        answers = zoo.module(int(row["member"]))(others).argmax(1)
    assert row["attack_success"] == pytest.approx(
        (answers == row["trigger_target"]).float().mean().item(), abs=1e-6
    )


def test_the_first_checkpoint_is_untrained_and_the_last_is_the_network(made):
    zoo = Zoo.open(made)
    assert torch.equal(zoo.blocks()[0][1], zoo.blocks(step=40)[0][1])
    assert np.allclose(zoo.labels["test_accuracy@40"], zoo.labels["test_accuracy"])
    assert not torch.equal(zoo.blocks(step=0)[0][1], zoo.blocks(step=20)[0][1])


def test_two_processes_make_the_same_zoo(made, tmp_path):
    list(make_zoo(ZooConfig.model_validate({**SMALL, "processes": 2}), tmp_path, "small"))
    for file in sorted(made.iterdir()):
        assert (tmp_path / file.name).read_bytes() == file.read_bytes(), file.name


def test_more_images_than_there_are(tmp_path):
    with pytest.raises(
        UsageError, match="train_size=5000 and test_size=200 are more than 'digits' has: 1000 and 797"
    ):
        next(make_zoo(ZooConfig.model_validate({**SMALL, "train_size": 5000}), tmp_path, "small"))


# Recipes are drawn from their own streams, cover their factors, and give networks that can be built.


def recipes(n: int, **settings):
    config = ZooConfig.model_validate(settings)
    return [draw_recipe(config, i, "digits", (1, 8, 8), 10) for i in range(n)]


def test_shares_are_those_of_the_config():
    drawn = recipes(3000)
    members = [r.member for r in drawn]
    assert len({m.seed for m in members}) == 3000
    assert np.mean([m.backdoor is not None for m in members]) == pytest.approx(0.3, abs=0.03)
    assert np.mean([bool(m.missing) for m in members]) == pytest.approx(0.4, abs=0.03)
    assert np.mean([m.label_noise > 0 for m in members]) == pytest.approx(0.6, abs=0.03)
    places = {(m.backdoor.row, m.backdoor.column) for m in members if m.backdoor}
    assert len(places) == 6 * 7
    rates = np.log([m.lr for m in members if m.optimizer == "adam"])
    assert np.exp(rates.min()) >= 5e-5 and np.exp(rates.max()) <= 1e-2
    assert np.median(rates) == pytest.approx(np.log(np.sqrt(5e-5 * 1e-2)), abs=0.2)


def test_a_recipe_depends_on_its_number_alone():
    few, many = recipes(5, members=5), recipes(50, members=50)
    assert few == many[:5]
    assert recipes(5, seed=1) != few


@pytest.mark.parametrize(
    "factors",
    [{"rates": {"momentum": [0.5, 0.0025]}}, {"dropout": [0.6, 0.1]}, {"optimizers": []}, {"fractions": []}],
)
def test_a_range_that_falls_or_a_choice_among_nothing_is_refused_before_anything_is_drawn(factors):
    with pytest.raises(ValueError, match="the range begins at|at least 1 item"):
        ZooConfig.model_validate({"factors": factors})


def test_corner_means_one_place_for_all():
    drawn = recipes(100, factors={"trigger": "corner"})
    assert {(b.row, b.column) for r in drawn if (b := r.member.backdoor)} == {(0, 0)}


@pytest.mark.parametrize("family", list_members(FAMILIES))
def test_every_family_can_be_built_on_small_and_large_images(family):
    config = ZooConfig.model_validate({"family": family})
    for image in ((1, 8, 8), (1, 28, 28), (3, 32, 32)):
        model = build(parse(draw_recipe(config, 3, "any", image, 10).model))
        assert 100 < sum(p.numel() for p in model.parameters()) < 250_000


def test_a_fixed_number_of_architectures():
    drawn = recipes(40, family="wild_cnn", architectures=5)
    assert len({r.architecture for r in drawn}) == 5
