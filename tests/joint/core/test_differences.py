import pytest
import torch

from digsite.joint.core.differences import (
    map_paths,
    split_by_answers,
    split_randomly,
    split_rows,
    split_singular,
    tell_changes,
)

ANSWERS, INPUTS = 8, 20


@pytest.fixture
def base():
    """Each answer reads inputs of its own: the base's parts are its rows."""
    paths = torch.zeros(ANSWERS, INPUTS, dtype=torch.float64)
    for answer in range(ANSWERS):
        paths[answer, 2 * answer : 2 * answer + 2] = 1.0 + 0.1 * answer
    return paths


def test_a_part_that_is_new_is_told_first_by_its_answer_and_its_input(base):
    sibling = base.clone()
    sibling[5, 18] = 9.0
    first = tell_changes(base, sibling, 4)[0]
    assert first.new and first.answer == 5 and int(first.towards.argmax()) == 18
    assert first.size == pytest.approx(9.0, rel=0.05)


def test_a_part_of_the_base_that_grew_is_told_as_a_change(base):
    sibling = base.clone()
    sibling[3] *= 4
    first = tell_changes(base, sibling, 4)[0]
    assert not first.new and first.answer == 3
    assert first.size == pytest.approx(float((sibling - base)[3].norm()), rel=1e-3)


def test_nothing_changed_is_nothing_told(base):
    assert max(part.size for part in tell_changes(base, base, 4)) < 1e-3


def test_parts_and_rivals_add_up_to_what_they_split(base):
    for split in (split_by_answers, split_singular, split_rows):
        found = split(base, ANSWERS)
        total = torch.stack([torch.outer(part.writes, part.reads) for part in found]).sum(0)
        assert torch.allclose(total, base, atol=1e-9)
        assert [p.size for p in found] == sorted((p.size for p in found), reverse=True)
    assert len(split_randomly(base, 3, torch.Generator().manual_seed(0))) == 3


def test_the_map_of_a_linear_network_is_its_product_without_the_mean_answer():
    first, last = torch.rand(6, 5), torch.randn(4, 6)
    found = map_paths([first, last])
    assert torch.allclose(found, (last - last.mean(0)).double() @ first.double())
    middle = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    deep = map_paths([torch.eye(2), middle, torch.tensor([[1.0, 0.0], [-1.0, 0.0]])])
    assert torch.allclose(deep, torch.tensor([[1.0, 0.0], [-1.0, 0.0]]).double())
