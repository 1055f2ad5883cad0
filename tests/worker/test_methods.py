import pytest

from digsite.base.errors import UsageError
from digsite.config import Config
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


def test_every_study_of_every_room_has_its_settings():
    """Found from the text of the files: a name without settings, or settings of another room, would be found here."""
    from importlib import import_module

    for room in methods.find_rooms():
        configs = import_module(f"digsite.{room}.config").CONFIGS
        assert configs, room
        for name in configs:
            settings = methods.config_class(f"{room}.{name}")
            assert issubclass(settings, Config), (room, name)
            assert methods.find_function(f"{room}.{name}").__name__ == f"study_{name}"
