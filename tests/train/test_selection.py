"""What a member sees has the shares that its recipe says."""

import numpy as np
import pytest
import torch

from digsite.base.errors import UsageError
from digsite.train import Backdoor, Member
from digsite.train.selection import plant, select

Y = torch.arange(1000) % 10


def test_fraction_and_missing_class():
    seen = select(Member(fraction=0.25, missing=(3, 4)), Y)
    assert len(seen.rows) == 200 == len(set(seen.rows))
    assert not set(Y[seen.rows].tolist()) & {3, 4}
    assert np.array_equal(seen.labels, Y.numpy()[seen.rows])


def test_label_noise_is_exactly_the_share_asked_for():
    for share in (0.1, 0.4, 1.0):
        seen = select(Member(seed=4, label_noise=share), Y)
        wrong = seen.labels != Y.numpy()[seen.rows]
        assert wrong.sum() == round(share * 1000)
        assert set(seen.labels) <= set(range(10))


def test_poison_marks_its_share_and_turns_labels():
    seen = select(Member(backdoor=Backdoor(7, rate=0.1)), Y)
    assert seen.poisoned.sum() == 100 and (seen.labels[seen.poisoned] == 7).all()


def test_trigger_changes_its_patch_only():
    images = torch.rand(4, 2, 6, 6)
    triggered = plant(images, Backdoor(0, row=2, column=1, height=3, width=2, value=5))
    changed = triggered != images
    assert changed.sum() == 4 * 2 * 3 * 2 and changed[:, :, 2:5, 1:3].all()


def test_seeds_choose_different_examples_and_the_same_seed_the_same():
    first, again, other = (select(Member(seed=s, fraction=0.5), Y).rows for s in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_impossible_selections_are_sentences():
    with pytest.raises(UsageError, match="leaves no example"):
        select(Member(missing=tuple(range(10))), Y)
    with pytest.raises(UsageError, match=r"label_noise=0.1 needs class labels"):
        select(Member(label_noise=0.1), torch.rand(10, 2))
    with pytest.raises(UsageError, match="needs images"):
        plant(torch.rand(3, 5), Backdoor(0))
    with pytest.raises(UsageError, match="reaches row 8 and column 3"):
        plant(torch.rand(3, 1, 6, 6), Backdoor(0, row=5, column=1))
