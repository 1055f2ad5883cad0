"""YAML as people write it: `1e-3` is a number, `on` and `no` are words."""

import re
from pathlib import Path
from typing import Any

import yaml

from digsite.base.errors import NotFound, UsageError


class _Loader(yaml.SafeLoader):
    """YAML 1.2 scalars: PyYAML's 1.1 reads 1e-3 as text and `no` as false."""


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, regexp) for tag, regexp in rules if not tag.endswith((":float", ":bool", ":timestamp"))]
    for letter, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_FLOAT = re.compile(
    r"^[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def loads(text: str, *, where: str = "YAML") -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise UsageError(f"{where} is not valid YAML{place}: {problem}.") from None


def load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise NotFound(f"There is no config file '{path}'.")
    value = loads(path.read_text(), where=f"'{path}'")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UsageError(
            f"'{path}' must hold a mapping of keys to values, but holds a {type(value).__name__}."
        )
    return value


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


# Without this PyYAML writes 0.001 as 1e-03 without a dot, which YAML 1.1 readers take for text.
_Dumper.add_representer(
    float, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:float", _float(value))
)


def _float(value: float) -> str:
    text = repr(value)
    mantissa, e, exponent = text.partition("e")
    return text if not e or "." in mantissa else f"{mantissa}.0e{exponent}"


def dumps(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
