import pytest
from hypothesis import given
from hypothesis import strategies as st

from digsite.base.errors import UsageError
from digsite.config.space import from_tree, from_words


def test_words_are_ranges_lists_and_draws():
    space = from_words(["seed=0..2", "lr=1e-3,1e-4", "sizes=[1,2],[3]"])
    points = list(space.points())
    assert len(points) == space.size == 12
    assert points[0] == {"seed": 0, "lr": 1e-3, "sizes": [1, 2]}
    assert points[-1] == {"seed": 2, "lr": 1e-4, "sizes": [3]}


@given(st.lists(st.lists(st.integers(), min_size=1, max_size=4, unique=True), min_size=1, max_size=4))
def test_a_grid_has_every_combination_once(columns):
    space = from_tree({f"k{i}": {"values": column} for i, column in enumerate(columns)})
    points = [tuple(point.values()) for point in space.points()]
    assert len(points) == len(set(points)) == space.size


def test_draws_are_named_by_seed_and_index():
    def draw(seed):
        return list(from_words(["lr=log(1e-5,1e-2)", "seed=0,1"], samples=3, seed=seed).points())

    assert draw(1) == draw(1) != draw(2)
    assert len(draw(1)) == 6
    assert all(1e-5 <= point["lr"] <= 1e-2 for point in draw(1))
    assert len({point["lr"] for point in draw(1)}) == 6


def test_files_nest_and_mix():
    space = from_tree(
        {
            "train": {"lr": {"values": [1, 2]}, "wd": {"distribution": "log_uniform", "min": 1e-6, "max": 1}},
            "steps": 5,
        }
    )
    assert set(next(space.points())) == {"train.lr", "train.wd", "steps"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["lr="], "The grid is empty. 'lr' has no values"),
        ([], "The grid is empty"),
        (["a=1..1000", "b=1..10000"], "10,000,000 combinations"),
        (["lr"], "'lr' is not a sweep setting"),
        (["lr=log(0,1)"], "cannot be drawn between 0 and 1"),
        (["lr=uniform(a,1)"], "needs two numbers"),
    ],
)
def test_bad_spaces_are_named(words, sentence):
    with pytest.raises(UsageError, match=sentence):
        list(from_words(words).points())
