"""The base of every config: unknown keys are refused, values are frozen; and settings that name something.

Figures, methods, image sets and the like are checked by name when a run is planned, never after the work.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from digsite.base import families
from digsite.base.errors import name_nearest
from digsite.config import yamlio

__all__ = ["Config", "Field", "read_words"]


class Config(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, protected_namespaces=()
    )

    @model_validator(mode="before")
    @classmethod
    def _no_numbers_from_text(cls, values: Any) -> Any:
        """YAML has read every number already: text where a number belongs is a slip (`0-4` would become -4)."""
        for name, value in values.items() if isinstance(values, dict) else ():
            field = cls.model_fields.get(name)
            for item in value if isinstance(value, list | tuple) else (value,):
                if isinstance(item, str) and field and _only_numbers(field.annotation):
                    span = re.fullmatch(r"(\d+)\s*(?:-|\.\.\.?|:)\s*(\d+)", item)
                    hint = f"; several values are {span[1]}..{span[2]}, for digsite sweep" if span else ""
                    about = {"field": name, "given": item, "hint": hint}
                    raise PydanticCustomError("text_for_number", "this is text and not a number{hint}", about)
        return values

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        bare = [name for name, info in cls.model_fields.items() if not info.description and name != "kind"]
        assert not bare, f"{cls.__name__}: fields without a description: {', '.join(bare)}"


def read_words(model: type[BaseModel], words: dict[str, Any]) -> dict[str, Any]:
    """Options that were written as plain words: numbers become numbers, as YAML reads them.

    `model`: whose fields say where a number belongs. `words`: values by field name; those of other types stay.
    """
    read = dict(words)
    for name, value in words.items():
        field = model.model_fields.get(name)
        if isinstance(value, str) and field and _only_numbers(field.annotation):
            read[name] = yamlio.parse_yaml(value, where=f"The value of '{name}'")
    return read


def _only_numbers(annotation: Any) -> bool:
    """Whether a field takes numbers (or lists of them, or nothing) and no text."""
    leaves = _leaf_types(annotation)
    return bool({int, float} & leaves) and leaves <= {int, float, bool, type(None)}


def _leaf_types(annotation: Any) -> set[Any]:
    inner = [arg for arg in get_args(annotation) if arg is not Ellipsis]
    if not inner:
        return {annotation}
    return set().union(*(_leaf_types(arg) for arg in inner if not _is_metadata(arg)))


def _is_metadata(argument: Any) -> bool:
    """What stands beside a type in Annotated[...]."""
    return not isinstance(argument, type) and not get_args(argument)


# Settings that name something: a figure, a method, an image set. Checked when a run is planned, never after the
# work.
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


@dataclass(frozen=True)
class NamesModel:
    """For `Annotated[str, NamesModel()]`: the value is a model's reference, or several. What somebody asks for and is not there
    is refused when a run is planned. `folder` of the data holds models that a bare name means; `words` are no models.
    """

    folder: str = ""
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class NamesData:
    """For `Annotated[str, NamesData("package.module:function")]`: the value names a corpus, a zoo or an image set, and that
    function refuses one that is not at hand, in one sentence and when a run is planned. `words` are no data. `always`: also
    what the study itself names, and not only what somebody asks for.
    """

    refuse: str
    words: tuple[str, ...] = ("",)
    always: bool = False

    def refuse_missing(self, name: str) -> None:
        """Raise where the data is not here and cannot be fetched."""
        module, _, function = self.refuse.partition(":")
        if name not in self.words:
            getattr(import_module(module), function)(name)


ImageSetName = Annotated[
    str,
    named_member("image set", "digsite.data.sets"),
    NamesData("digsite.data.images:refuse_missing", always=True),
]
CorpusName = Annotated[str, NamesData("digsite.data.text:refuse_missing", ("", "stories"))]


def list_marks(info: FieldInfo) -> "list[NamesModel | NamesData]":
    """Marks of a field, also those of the items of a list."""
    inner = [mark for arg in _annotated_parts(info.annotation) for mark in get_args(arg)[1:]]
    return [mark for mark in (*info.metadata, *inner) if isinstance(mark, NamesModel | NamesData)]


def _annotated_parts(annotation: Any) -> Iterator[Any]:
    """Every `Annotated[...]` inside of an annotation."""
    if get_origin(annotation) is Annotated:
        yield annotation
    for arg in get_args(annotation):
        if not isinstance(arg, str):
            yield from _annotated_parts(arg)


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
