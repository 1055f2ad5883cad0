"""The strict base of every config: frozen, unknown keys forbidden, a description on every field."""

import re
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

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
