"""YAML as people write it: `1e-3` is a number, `on` and `no` are words, and what could be misread is refused.

This is the door for settings, config files and study files. It lets in plain data only: text, numbers, truth values,
lists and mappings with text as keys, bounded in size and depth, without references to itself.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from digsite.base import stored
from digsite.base.errors import NotFound, UsageError
from digsite.base.stored import Damaged

MAX_TEXT = 1_000_000  # characters
MAX_VALUES = (
    50_000  # references count each time they are used, so that a short text cannot become a large value
)
MAX_DEPTH = 40


class _Loader(yaml.SafeLoader):
    """YAML 1.2 scalars: PyYAML's 1.1 reads 1e-3 as text, `no` as false, 010 as eight and 1:30 as ninety."""

    def compose_document(self) -> Any:
        root = super().compose_document()
        _count_values(root, {}, set(), MAX_DEPTH)
        return root

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise _Refused(f"'{key.value[:60]}' is there twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Refused(yaml.constructor.ConstructorError):
    """What is valid YAML and still not let in."""

    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(None, None, problem, mark)


def _count_values(node: Any, known: dict[int, int], above: set[int], depth: int) -> int:
    """How many values a node stands for with every reference followed; refuses circles, depth and size."""
    if node is None:
        return 0
    if id(node) in known:
        return known[id(node)]
    if id(node) in above:
        raise _Refused("it refers to itself", node.start_mark)
    if not depth:
        raise _Refused(f"it is nested more than {MAX_DEPTH} levels deep", node.start_mark)
    total = 1
    above.add(id(node))
    for child in _child_nodes(node):
        total += _count_values(child, known, above, depth - 1)
        if total > MAX_VALUES:
            raise _Refused(f"it stands for more than {MAX_VALUES:,} values", node.start_mark)
    above.remove(id(node))
    known[id(node)] = total
    return total


def _child_nodes(node: Any) -> Iterator[Any]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


_TAG = "tag:yaml.org,2002:"
_FLOAT = re.compile(
    r"^[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
)
_INT = re.compile(r"^[-+]?(?:0|[1-9]\d{0,2}(?:_?\d)*)$|^0x[0-9a-fA-F]+$", re.ASCII)
_AMBIGUOUS = re.compile(
    r"^[-+]?0[\d_]+$|^[-+]?\d[\d_]*_[\d_]*$|^[-+]?0[bo][0-7_]*$|^[-+]?0x(?:[\da-fA-F_]*_[\da-fA-F_]*)?$"
    r"|^[-+]?\d[\d_]*(?::[0-5]?\d)+(?:\.\d*)?$",
    re.ASCII,
)
_DIGITS = 40  # of a number; longer ones are typing errors, and take a quadratic time to read
# What a scalar can mean, first match wins; explicit tags and dates are not among it.
_MEANINGS = (
    ("null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("int", _INT, list("-+0123456789")),
    ("ambiguous", _AMBIGUOUS, list("-+0123456789")),
    ("float", _FLOAT, list("-+.0123456789")),
    ("merge", re.compile(r"^(?:<<)$"), ["<"]),
)
_Loader.yaml_implicit_resolvers = {}
for _name, _pattern, _letters in _MEANINGS:
    _Loader.add_implicit_resolver(_TAG + _name, _pattern, _letters)


def _whole_number(loader: _Loader, node: Any) -> int:
    text = loader.construct_scalar(node)
    if len(text) > _DIGITS or not _INT.match(text):
        raise _Refused(f"'{text[:60]}' is not a number that can be used", node.start_mark)
    return int(text.replace("_", ""), 16 if text.startswith("0x") else 10)


def _real_number(loader: _Loader, node: Any) -> float:
    text = loader.construct_scalar(node)
    if len(text) > _DIGITS or not _FLOAT.match(text):
        raise _Refused(f"'{text[:60]}' is not a number that can be used", node.start_mark)
    return float(text.lower().replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))


def _refuse_doubtful(loader: _Loader, node: Any) -> Any:
    text = loader.construct_scalar(node)
    message = f"'{text[:60]}' could be read as several numbers; write plain digits, or quotes around text"
    raise _Refused(message, node.start_mark)


def _truth_value(loader: _Loader, node: Any) -> bool:
    text = loader.construct_scalar(node).lower()
    if text not in ("true", "false"):
        raise _Refused(f"'{text[:60]}' is not true or false", node.start_mark)
    return text == "true"


def _refuse_strange(loader: _Loader, node: Any) -> Any:
    raise _Refused(f"the tag '{node.tag[:60]}' is not accepted: only plain data is", node.start_mark)


_Loader.yaml_constructors = {
    _TAG + "null": yaml.SafeLoader.construct_yaml_null,
    _TAG + "bool": _truth_value,
    _TAG + "int": _whole_number,
    _TAG + "float": _real_number,
    _TAG + "str": yaml.SafeLoader.construct_yaml_str,
    _TAG + "seq": yaml.SafeLoader.construct_yaml_seq,
    _TAG + "map": yaml.SafeLoader.construct_yaml_map,
    _TAG + "ambiguous": _refuse_doubtful,
    None: _refuse_strange,
}


def parse_yaml(text: str, *, where: str = "YAML") -> Any:
    """The value that a text of YAML stands for; `where` begins the sentence that refuses it."""
    if len(text) > MAX_TEXT:
        raise UsageError(f"{where} is longer than {MAX_TEXT:,} characters.")
    try:
        return _check_value(yaml.load(text, Loader=_Loader), where)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at_line = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        refused = "cannot be used" if isinstance(error, _Refused) else "is not valid YAML"
        raise UsageError(f"{where} {refused}{at_line}: {problem}.") from None
    except RecursionError:
        raise UsageError(f"{where} cannot be used: it is nested too deeply.") from None


def _check_value(value: Any, where: str) -> Any:
    """Keys are text, and no text holds half of a surrogate pair, which no file takes."""
    if isinstance(value, str) and not value.isascii() and stored.clean_text(value) != value:
        raise UsageError(f"{where} holds text that is not Unicode: {ascii(value)[:60]}.")
    if isinstance(value, list):
        for item in value:
            _check_value(item, where)
    elif isinstance(value, dict):
        for key, item in value.items():
            if isinstance(key, float) or key is None or isinstance(key, bool):
                raise UsageError(
                    f"{where} has the key {key!r}, which is no text.", hint="Write quotes around it."
                )
            _check_value(key, where)
            _check_value(item, where)
    return value


def load_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds; empty for an empty file."""
    data = stored.read_bytes(path, limit=4 * MAX_TEXT, follow=True)
    if data is None:
        raise NotFound(f"There is no config file '{path}'.")
    if isinstance(data, Damaged):
        raise UsageError(f"'{path}' cannot be used: {data.reason}.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"'{path}' is not text in UTF-8.") from None
    value = parse_yaml(text, where=f"'{path}'")
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


_Dumper.add_implicit_resolver(
    _TAG + "ambiguous", _AMBIGUOUS, list("-+0123456789")
)  # such text is written in quotes


# Without this PyYAML writes 0.001 as 1e-03 without a dot, which YAML 1.1 readers take for text.
_Dumper.add_representer(
    float, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:float", _represent_float(value))
)


def _represent_float(value: float) -> str:
    if not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    text = repr(value)
    mantissa, e, exponent = text.partition("e")
    return text if not e or "." in mantissa else f"{mantissa}.0e{exponent}"


def dump_yaml(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
