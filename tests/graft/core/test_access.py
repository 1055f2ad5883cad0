import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from digsite.base.errors import UsageError
from digsite.graft.core.access import Access, Budget, BudgetViolation, Frame, Images, Lens, Pools, few


def images(n: int, label: int, key: str) -> Images:
    return Images(torch.full((n, 2), float(label)), torch.full((n,), label), key)


POOLS = Pools(
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
    budget = Budget.parse(text)
    assert Budget.parse(str(budget)) == budget
    assert "w" in budget.letters and budget.shots == shots


@pytest.mark.parametrize("text", ["x", "k", "a-u", "20"])
def test_no_budget(text):
    with pytest.raises(UsageError, match="no access budget"):
        Budget.parse(text)


@pytest.mark.parametrize("letter", ["s", "a", "u", "b", "k"])
def test_a_read_beyond_the_budget_raises(letter):
    access = Access(POOLS, Budget(frozenset("wsaub") - {letter}))
    read = {"s": access.shared, "a": access.old, "u": access.proxy, "b": access.donor, "k": access.shots}[
        letter
    ]
    with pytest.raises(BudgetViolation, match=f"read '{letter}'"):
        read()


def test_held_out_images_need_the_letter_of_old_ones():
    with pytest.raises(BudgetViolation):
        Access(POOLS, Budget.parse("s")).held_old()


def test_reads_are_counted_once():
    access = Access(POOLS, Budget.parse("au"))
    access.old(2), access.old(4), access.proxy()
    assert access.read == {"a": 4, "u": 5}


def test_unlabelled_images_have_no_labels():
    assert set(Access(POOLS, Budget.parse("u")).proxy().y.tolist()) == {-1}
    assert set(Access(POOLS, Budget.parse("au")).mixed("au", 3).y.tolist()) == {0, -1}


def test_shots_follow_the_letter():
    assert len(Access(POOLS, Budget.parse("k3")).shots()) == 3
    assert len(Access(POOLS, Budget.parse("F")).shots()) == 9
    assert len(Access(POOLS, Budget.parse("t")).shots()) == 2


def test_test_images_stay_closed():
    from dataclasses import replace

    with pytest.raises(BudgetViolation, match="closed"):
        Access(replace(POOLS, leak=None), Budget.parse("t")).shots()


def test_too_few_examples():
    with pytest.raises(UsageError, match="the data holds 9"):
        few(POOLS.new, 10)


def test_a_lens_computes_once():
    lens, model, calls = Lens(), torch.nn.Linear(1, 1), []
    for _ in range(2):
        lens.once(model, ("x",), lambda: calls.append(1))
    assert calls == [1]
    lens.forget(model)
    lens.once(model, ("x",), lambda: calls.append(1))
    assert calls == [1, 1]
