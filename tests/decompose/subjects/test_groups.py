"""Networks on groups open, answer as their group does, hide their basis, and their known representations are the published ones."""

import json

import numpy as np
import pytest
import torch

from digsite.base.errors import UsageError
from digsite.data.fetch import find_file
from digsite.decompose.config import ExamConfig
from digsite.decompose.experiments.exam import list_programs, prepare_program
from digsite.decompose.judge.contestants import enter_contestant
from digsite.decompose.judge.exam.marks import share_right
from digsite.decompose.judge.exam.parts import measure_purity, score_parts
from digsite.decompose.subjects import groups

pytestmark = pytest.mark.skipif(
    find_file(groups.FOLDER, "s5_seed1.safetensors") is None, reason="the networks on groups are not here"
)


@pytest.fixture(scope="module", params=["s5_seed1", "d59_seed1", "7r4zst7evs"])
def network(request):
    return groups.load_group(request.param)


def test_a_hidden_basis_changes_no_answer(network):
    (ids,) = network.domain
    hidden = groups.rotate_group(network, 3)
    torch.testing.assert_close(hidden.model(ids[:200]), network.model(ids[:200]), rtol=1e-4, atol=1e-3)
    assert not torch.allclose(
        hidden.model.get_parameter("embed.weight"), network.model.get_parameter("embed.weight"), atol=0.1
    )


def test_shares_of_the_embedding_are_those_that_were_published():
    """Computed by others from the same weights: the value matrix's inputs, one direction for each stream direction."""
    network = groups.load_group("d59_seed1")
    stored = json.loads(find_file(groups.FOLDER, "labels.json").read_text())
    label = next(one for one in stored if one["file"] == "d59_seed1.safetensors")
    view = network.view_directions("block.Wv", torch.eye(128))[..., 0].square().sum(0)
    whole = network.model.get_parameter("embed.weight")[:118].double().square().sum()
    for name, dims in network.variables.items():
        assert float(view[dims].sum() / whole) == pytest.approx(
            label["summary"][f"percent_x_embed_{name}_rep"], abs=1e-6
        )


def test_a_part_made_of_one_representation_is_pure_and_survives_the_rotation(network):
    hidden = groups.rotate_group(network, 5)
    site, name = ("l1", hidden.used[0]) if hidden.name in groups.MLPS else ("block.Wv", hidden.used[0])
    elements = hidden.model.get_parameter("embed.weight")[: len(hidden.table)].double()
    wanted = hidden.harmonics[:, hidden.variables[name][:1]].T  # a function on the group
    direction = torch.linalg.lstsq(elements - elements.mean(0), wanted.T, driver="gelsd").solution.T
    got = (elements - elements.mean(0)) @ direction.T
    direction = torch.cat([direction, direction], 1) if site == "l1" else direction
    explained = 1 - float((got.T - wanted).square().sum() / wanted.square().sum())
    assert float(measure_purity(hidden, site, direction)) > 0.99 * explained


def test_singular_vectors_of_the_known_number_answer_nearly_all_of_it(network):
    hidden = groups.rotate_group(network, 1)
    entry = enter_contestant("singular", hidden, seed=0, steps=0)
    assert share_right(entry)["unmasked"] > 0.99
    random = enter_contestant("random", hidden, seed=0, steps=0)
    found, null = (score_parts(e, e.find_alive()) for e in (entry, random))
    assert found.purity > null.purity and null.error < 1e-3


def test_names_are_spelled_out_and_a_trained_network_is_not_padded():
    assert list_programs(["groups"]) == list(groups.GROUPS)
    config = ExamConfig(programs=["s5_seed1"], pad=2)
    with pytest.raises(UsageError, match="was trained, and cannot be padded"):
        prepare_program(config, "s5_seed1", 1)
    assert np.isclose(float(prepare_program(ExamConfig(), "s5_seed1", 1).rank("unembed")), 17)
