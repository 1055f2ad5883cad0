"""The strict base of every config: frozen, unknown keys forbidden, a description on every field."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Config", "Field"]


class Config(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, protected_namespaces=()
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        bare = [name for name, info in cls.model_fields.items() if not info.description and name != "kind"]
        assert not bare, f"{cls.__name__}: fields without a description: {', '.join(bare)}"
