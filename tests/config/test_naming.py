import pytest

from digsite.base.errors import UsageError
from digsite.config.naming import place

KNOWN = ["seeds", "target.steps", "target.model.n_hidden", "room.steps", "room.a.coeff", "room.b.coeff"]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("seeds", "seeds"),
        ("steps", "room.steps"),  # the room's own section before the target's
        ("target.steps", "target.steps"),
        ("n_hidden", "target.model.n_hidden"),
        ("model.n_hidden", "target.model.n_hidden"),
        ("model", "target.model"),
        ("a.coeff", "room.a.coeff"),
    ],
)
def test_the_end_of_a_path_is_enough(name, path):
    assert place(name, KNOWN, section="room") == path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("coeff", r"'coeff' could be room.a.coeff, room.b.coeff"),
        ("steps", r"'steps' could be room.steps, target.steps"),
        ("n_hiden", r"Unknown key 'n_hiden' in this config. Did you mean 'target.model.n_hidden'"),
        ("zzz", r"Unknown key 'zzz' in this config. Accepted: room, seeds, target"),
    ],
)
def test_what_is_unclear_is_said_with_whole_paths(name, words):
    with pytest.raises(UsageError, match=words):
        place(name, KNOWN)
