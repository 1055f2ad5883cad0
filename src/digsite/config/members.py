"""Settings that name something: a figure, a method, an image set. Checked when a run is planned, never after the work."""

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from pydantic import AfterValidator

from digsite.base import families
from digsite.base.errors import name_nearest

Names = str | Iterable[str] | Callable[[], Iterable[str]]


def named_member(word: str, *known: Names, clean: Callable[[str], str] = str) -> Any:
    """For `Annotated[str, named("figure", "digsite.decompose.figures")]`: the value must be one of the known names.

    `word` is what the value names, as a person would say it. Each of `known` is a family's package, a table in a
    module (`package.module:TABLE`, imported when a value is checked), several names, or a function that gives them; nothing is imported to list a family. `clean` takes from the value what is looked up.
    """

    def check_name(value: str) -> str:
        names = list_known(known)
        asked = clean(value)
        if asked not in names:
            raise ValueError(f"there is no {word} '{asked}'. {name_nearest(asked, names)}")
        return value

    return AfterValidator(check_name)


def list_known(known: Iterable[Names]) -> list[str]:
    """All names of families, of lists and of functions that list them, in the order given."""
    names: list[str] = []
    for source in known:
        if isinstance(source, str) and ":" in source:
            module, _, table = source.partition(":")
            names += list(getattr(import_module(module), table))
        elif isinstance(source, str):
            names += families.list_members(source)
        else:
            names += list(source() if callable(source) else source)
    return names


def check_settings(package: str, chosen: dict[str, Any]) -> None:
    """Settings of family members, by member: each is read by the member's own `Settings`, so that a slip shows early.

    Only members with settings are imported; a ValueError names the member, the setting and what it takes.
    """
    for name, given in chosen.items():
        if not isinstance(given, dict):
            raise ValueError(f"{name} takes a mapping of settings, not {given!r}")
        if given:
            settings = families.read_settings(families.scan_member(package, name))
            fields = list(settings.model_fields)
            if strange := [str(key) for key in given if key not in fields]:
                hint = name_nearest(strange[0], fields) if fields else "It has none."
                raise ValueError(f"{name} has no setting '{strange[0]}'. {hint}")
            settings.model_validate(given)
