import pytest

from digsite.base.errors import UsageError
from digsite.worker import methods


def test_a_users_package_offers_methods_as_a_room_does():
    assert methods.config_class("countdown.countdown").__name__ == "CountdownConfig"
    assert methods.find_function("countdown.countdown").__name__ == "countdown"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("countdown.cuntdown", "Did you mean 'countdown'"),
        ("nowhere.x", "no package 'nowhere'"),
        ("x", "not a method"),
    ],
)
def test_unknown_methods_are_named(name, words):
    with pytest.raises(UsageError, match=words):
        methods.find_function(name)
