"""Every architecture's config, found by scanning, and the union of them told apart by `kind`."""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import TypeAdapter, ValidationError

from digsite.base import families
from digsite.base.contract import public_method
from digsite.base.errors import UsageError, name_nearest
from digsite.config import Config, Field


def _scan() -> dict[str, type[Config]]:
    found = {}
    for kind, module in families.scan_family("digsite.models.configs").items():
        configs = [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, Config)]
        (found[kind],) = [c for c in configs if "kind" in c.model_fields and c.__module__ == module.__name__]
        assert found[kind].model_fields["kind"].default == kind, f"{module.__name__} is not of kind {kind}"
    return found


MODELS: dict[str, type[Config]] = _scan()

if TYPE_CHECKING:
    ModelConfig: TypeAlias = Config
else:
    ModelConfig = Annotated[reduce(or_, MODELS.values()), Field(discriminator="kind")]


@public_method()
def parse(value: dict[str, Any]) -> Config:
    """A model config from plain data, such as the JSON beside a checkpoint."""
    kind = value.get("kind", "")
    if kind not in MODELS:
        raise UsageError(f"There is no architecture of kind '{kind}'.", hint=name_nearest(str(kind), MODELS))
    try:
        return TypeAdapter(ModelConfig).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"][1:])
        said = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"This is no {kind} model: {f'{path}: ' if path else ''}{said}.") from None
