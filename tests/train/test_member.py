"""A recipe that cannot work is refused in one sentence."""

import pytest

from digsite.base.errors import UsageError
from digsite.train import Member, seeds, share_data


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
