"""A recipe that cannot work is refused in one sentence."""

import numpy as np
import pytest
import torch

from digsite.base.errors import UsageError
from digsite.train import Backdoor, Member, seeds, share_data
from digsite.train.member import plant_trigger, select_examples


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"optimizer": "adm"}, "unknown optimizer 'adm'. Did you mean 'adam' or 'adamw'"),
        ({"init": "hee"}, "unknown init 'hee'"),
        ({"schedule": "step"}, "unknown schedule 'step'"),
        ({"fraction": 0.0}, "fraction=0.0 is out of range"),
        ({"label_noise": 1.5}, "label_noise=1.5 is out of range"),
        ({"dropout": 1.0}, "dropout=1.0 is out of range"),
        ({"batch": 0}, "batch=0 is too small"),
        ({"momentum": 0.9, "optimizer": "adam"}, "momentum=0.9 has no effect with optimizer 'adam'"),
    ],
)
def test_wrong_recipes(wrong, sentence):
    with pytest.raises(UsageError) as raised:
        Member(**wrong)
    assert sentence in str(raised.value)


def test_seeds_and_shared_data():
    three = seeds(3, Member(seed=5, lr=0.1))
    assert [m.seed for m in three] == [5, 6, 7] and {m.lr for m in three} == {0.1}
    assert [m.order for m in three] == [5, 6, 7]
    assert [m.order for m in share_data(three, 1)] == [1, 1, 1]


# What a member sees has the shares that its recipe says.

Y = torch.arange(1000) % 10


def test_fraction_and_missing_class():
    seen = select_examples(Member(fraction=0.25, missing=(3, 4)), Y)
    assert len(seen.rows) == 200 == len(set(seen.rows))
    assert not set(Y[seen.rows].tolist()) & {3, 4}
    assert np.array_equal(seen.labels, Y.numpy()[seen.rows])


def test_label_noise_is_exactly_the_share_asked_for():
    for share in (0.1, 0.4, 1.0):
        seen = select_examples(Member(seed=4, label_noise=share), Y)
        wrong = seen.labels != Y.numpy()[seen.rows]
        assert wrong.sum() == round(share * 1000)
        assert set(seen.labels) <= set(range(10))


def test_poison_marks_its_share_and_turns_labels():
    seen = select_examples(Member(backdoor=Backdoor(7, rate=0.1)), Y)
    assert seen.poisoned.sum() == 100 and (seen.labels[seen.poisoned] == 7).all()


def test_trigger_changes_its_patch_only():
    images = torch.rand(4, 2, 6, 6)
    triggered = plant_trigger(images, Backdoor(0, row=2, column=1, height=3, width=2, value=5))
    changed = triggered != images
    assert changed.sum() == 4 * 2 * 3 * 2 and changed[:, :, 2:5, 1:3].all()


def test_seeds_choose_different_examples_and_the_same_seed_the_same():
    first, again, other = (select_examples(Member(seed=s, fraction=0.5), Y).rows for s in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_impossible_selections_are_sentences():
    with pytest.raises(UsageError, match="leaves no example"):
        select_examples(Member(missing=tuple(range(10))), Y)
    with pytest.raises(UsageError, match=r"label_noise=0.1 needs class labels"):
        select_examples(Member(label_noise=0.1), torch.rand(10, 2))
    with pytest.raises(UsageError, match="needs images"):
        plant_trigger(torch.rand(3, 5), Backdoor(0))
    with pytest.raises(UsageError, match="reaches row 8 and column 3"):
        plant_trigger(torch.rand(3, 1, 6, 6), Backdoor(0, row=5, column=1))
