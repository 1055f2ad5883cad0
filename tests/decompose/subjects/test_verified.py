"""The proven network opens, answers as its certificate says, and hides its basis without a change of answer."""

import pytest
import torch

from digsite.data.fetch import find_file
from digsite.decompose.judge.contestants import enter_contestant
from digsite.decompose.judge.exam.marks import mark_entry, share_right
from digsite.decompose.subjects import verified

pytestmark = pytest.mark.skipif(
    find_file(verified.FOLDER, f"{verified.NAME}.safetensors") is None,
    reason="the proven network is not here",
)


@pytest.fixture(scope="module")
def network():
    return verified.load_verified()


def test_every_input_is_answered_with_the_certified_margin(network):
    (ids,) = network.domain
    assert ids.unique(dim=0).shape == (1024, 10) and int(network.wanted(ids).sum()) == 42
    logits = network.model(ids)
    margin = logits.diff(dim=1)[:, 0] * (2 * network.wanted(ids) - 1)
    assert margin.min().item() == pytest.approx(6.3957, abs=1e-3)


def test_a_hidden_basis_changes_no_answer(network):
    (ids,) = network.domain
    hidden = verified.rotate_network(network, 3)
    torch.testing.assert_close(hidden.model(ids), network.model(ids), rtol=1e-4, atol=1e-2)
    assert not torch.allclose(hidden.model.pos, network.model.pos, atol=0.1)


def test_singular_vectors_answer_all_of_it_and_what_nobody_knows_is_not_scored(network):
    entry = enter_contestant("singular", network, seed=0, steps=0)
    right = share_right(entry)
    assert (
        right["unmasked"] == 1 and 0.9 < right["zero"] < 1
    )  # "not balanced" is right on 982 of 1,024 inputs
    row = mark_entry(entry, [2])
    assert row["purity"] != row["purity"] and row["use"] != row["use"] and row["alive"] > 0
