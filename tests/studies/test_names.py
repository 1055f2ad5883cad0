"""Whatever names something in a config is checked before the work: every such setting of every study, mistyped."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from digsite.base.errors import UsageError
from digsite.studies import all_studies
from digsite.studies.plan import plan_run
from digsite.worker import methods


def is_named(annotation: Any, metadata: Any = ()) -> bool:
    """Whether a validator of `config.model.named_member` stands anywhere in the annotation."""
    if any(getattr(getattr(item, "func", None), "__name__", "") == "check_name" for item in metadata):
        return True
    inner = [*get_args(annotation), *getattr(annotation, "__metadata__", ())]
    return any(getattr(getattr(item, "func", None), "__name__", "") == "check_name" for item in inner) or any(
        is_named(item) for item in get_args(annotation)
    )


def named_paths(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, info in model.model_fields.items():
        if is_named(info.annotation, info.metadata):
            yield f"{prefix}{name}", info.annotation
        elif isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from named_paths(info.annotation, f"{prefix}{name}.")


def mistyped(annotation: Any) -> str:
    """A value of the right shape whose name is nobody's."""
    text = str(annotation)
    if "tuple[" in text:
        return "[[simpel,simpel]]"
    return "{nobodyy: {}}" if "dict[" in text else "[nobodyy]" if "list[" in text else "nobodyy"


CASES = [
    (study.name, path, mistyped(annotation))
    for study in all_studies().values()
    for path, annotation in named_paths(methods.config_class(study.method))
]


def test_there_are_such_settings_in_every_room():
    assert {
        "figures",
        "metrics",
        "methods",
        "method",
        "archs",
        "sets",
        "measures",
        "tasks",
        "data",
        "pairs",
    } <= {path.rpartition(".")[2] for _, path, _ in CASES}


@pytest.mark.parametrize(("name", "path", "value"), CASES, ids=str)
def test_a_mistyped_name_is_refused_when_the_run_is_planned(name, path, value):
    with pytest.raises(UsageError, match="there is no"):
        plan_run(all_studies()[name], overrides=[f"{path}={value}"])
