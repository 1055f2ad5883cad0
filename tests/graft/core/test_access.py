import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from digsite.base.errors import UsageError
from digsite.graft.core.access import (
    Access,
    AccessBudget,
    BudgetViolation,
    Frame,
    ImagePools,
    LabelledImages,
    Lens,
    take_few,
)


def images(n: int, label: int, key: str) -> LabelledImages:
    return LabelledImages(torch.full((n, 2), float(label)), torch.full((n,), label), key)


POOLS = ImagePools(
    old=images(6, 0, "old"),
    held_old=images(3, 0, "held"),
    shared=images(4, 2, "shared"),
    proxy=images(5, 7, "proxy"),
    donor=images(5, 4, "donor"),
    new=images(9, 4, "new"),
    frame=Frame((1, 2, 1), 0, 1),
    leak=images(2, 4, "leak"),
)


@given(st.sets(st.sampled_from("sabuFt")), st.integers(0, 50))
def test_a_budget_reads_what_it_writes(letters, shots):
    text = "".join(sorted(letters)) + (f"k{shots}" if shots else "")
    budget = AccessBudget.parse_letters(text)
    assert AccessBudget.parse_letters(str(budget)) == budget
    assert "w" in budget.letters and budget.shots == shots


@pytest.mark.parametrize("text", ["x", "k", "a-u", "20"])
def test_no_budget(text):
    with pytest.raises(UsageError, match="no access budget"):
        AccessBudget.parse_letters(text)


@pytest.mark.parametrize("letter", ["s", "a", "u", "b", "k"])
def test_a_read_beyond_the_budget_raises(letter):
    access = Access(POOLS, AccessBudget(frozenset("wsaub") - {letter}))
    read = {
        "s": access.open_shared,
        "a": access.open_old,
        "u": access.open_proxy,
        "b": access.open_donor,
        "k": access.open_shots,
    }[letter]
    with pytest.raises(BudgetViolation, match=f"read '{letter}'"):
        read()


def test_held_out_images_need_the_letter_of_old_ones():
    with pytest.raises(BudgetViolation):
        Access(POOLS, AccessBudget.parse_letters("s")).open_held_old()


def test_reads_are_counted_once():
    access = Access(POOLS, AccessBudget.parse_letters("au"))
    access.open_old(2), access.open_old(4), access.open_proxy()
    assert access.read == {"a": 4, "u": 5}


def test_unlabelled_images_have_no_labels():
    assert set(Access(POOLS, AccessBudget.parse_letters("u")).open_proxy().y.tolist()) == {-1}
    assert set(Access(POOLS, AccessBudget.parse_letters("au")).open_mixed("au", 3).y.tolist()) == {0, -1}


def test_shots_follow_the_letter():
    assert len(Access(POOLS, AccessBudget.parse_letters("k3")).open_shots()) == 3
    assert len(Access(POOLS, AccessBudget.parse_letters("F")).open_shots()) == 9
    assert len(Access(POOLS, AccessBudget.parse_letters("t")).open_shots()) == 2


def test_test_images_stay_closed():
    from dataclasses import replace

    with pytest.raises(BudgetViolation, match="closed"):
        Access(replace(POOLS, leak=None), AccessBudget.parse_letters("t")).open_shots()


def test_too_few_examples():
    with pytest.raises(UsageError, match="the data holds 9"):
        take_few(POOLS.new, 10)


def test_a_lens_computes_once():
    lens, model, calls = Lens(), torch.nn.Linear(1, 1), []
    for _ in range(2):
        lens.compute_once(model, ("x",), lambda: calls.append(1))
    assert calls == [1]
    lens.forget_model(model)
    lens.compute_once(model, ("x",), lambda: calls.append(1))
    assert calls == [1, 1]
