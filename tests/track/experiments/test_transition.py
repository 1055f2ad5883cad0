"""What a study of a transition says of the moment that it dated."""

import pytest

from digsite.track.experiments.transition import _course_words
from digsite.track.judge.windows import DatingCourse


@pytest.mark.parametrize(
    ("p", "said", "unsaid"),
    [
        (1.0, "is not told from chance", "is found"),
        (0.051, "is not told from chance", "is found"),
        (0.003, "is found", "not told"),
    ],
)
def test_two_of_two_networks_are_no_find_where_the_corrected_p_is_one(p, said, unsaid):
    """`grokking` once said "2 of 2 runs" in its verdict and "corrected p 1" in a note of it."""
    first = DatingCourse("fc1", "rank", found=2, runs=2, chance=0.5, p=p)
    words = _course_words(first, "accuracy", "accuracy")
    assert said in words and unsaid not in words
    assert "steepest_in_window" in words and "corrected" in words
