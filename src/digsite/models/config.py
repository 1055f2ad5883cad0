"""Every architecture's config, found by scanning, and the union of them told apart by `kind`."""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import TypeAdapter, ValidationError

from digsite.base import families
from digsite.base.contract import public_method
from digsite.base.errors import UsageError, name_nearest
from digsite.config import Config, Field


def _find_configs() -> dict[str, type[Config]]:
    """Every config with a `kind` in the files of `configs`, by its kind."""
    configs: dict[str, type[Config]] = {}
    for module in families.scan_family("digsite.models.configs").values():
        own = [
            value for value in vars(module).values() if getattr(value, "__module__", "") == module.__name__
        ]
        settings = [value for value in own if isinstance(value, type) and issubclass(value, Config)]
        configs |= {
            value.model_fields["kind"].default: value for value in settings if "kind" in value.model_fields
        }
    return dict(sorted(configs.items()))


MODELS: dict[str, type[Config]] = _find_configs()

if TYPE_CHECKING:
    ModelConfig: TypeAlias = Config
else:
    ModelConfig = Annotated[reduce(or_, MODELS.values()), Field(discriminator="kind")]


@public_method()
def parse(value: dict[str, Any]) -> Config:
    """A model config from plain data, such as the JSON beside a checkpoint.

    `value` is the config as plain data, its `kind` among the keys. A UsageError in one sentence names the kind
    that is nearest, or the first key that is wrong.
    """
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
