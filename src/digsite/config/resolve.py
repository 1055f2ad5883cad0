"""From layers of values to one validated config that remembers where each value came from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from digsite.base.errors import UsageError, name_nearest
from digsite.config.model import Config
from digsite.config.overrides import Tree, apply_overrides, leaf_paths, merge_trees, put_value

C = TypeVar("C", bound=Config)


@dataclass
class Layers:
    """Values in order of precedence, lowest first; `origins` maps a dotted path to the layer that set it."""

    tree: Tree = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def add(self, values: Tree, origin: str) -> "Layers":
        self.tree = merge_trees(self.tree, values)
        self.origins.update(dict.fromkeys(leaf_paths(values), origin))
        return self

    def set(self, values: Mapping[str, Any], origin: str) -> "Layers":
        """Values by dotted path, already parsed."""
        for path, value in values.items():
            self.tree = put_value(self.tree, path, value)
            self.origins[path] = origin
        return self

    def override(self, texts: list[str] | tuple[str, ...]) -> "Layers":
        before = leaf_paths(self.tree)
        self.tree = apply_overrides(self.tree, texts)
        changed = {path for path, value in leaf_paths(self.tree).items() if before.get(path, ...) != value}
        named = {text.partition("=")[0] for text in texts}
        self.origins.update(dict.fromkeys(changed | named, "command line"))
        return self

    def find_origin(self, path: str) -> str:
        """The layer that set this path or the closest path above it."""
        while path:
            if path in self.origins:
                return self.origins[path]
            path = path.rpartition(".")[0]
        return "default"


def nested_defaults(model: type[BaseModel]) -> Tree:
    """Default values of nested configs, so that `gate.hidden=8` can set one key of a default gate.

    Plain mappings are left out: a value given for one replaces it, and does not merge with it.
    """
    defaults = {name: info.default for name, info in model.model_fields.items() if not info.is_required()}
    return {name: _nested_values(value) for name, value in defaults.items() if isinstance(value, BaseModel)}


def _nested_values(config: BaseModel) -> Tree:
    values = {name: getattr(config, name) for name in type(config).model_fields}
    plain = {name: value for name, value in values.items() if not isinstance(value, dict | BaseModel)}
    return {
        **plain,
        **{name: _nested_values(value) for name, value in values.items() if isinstance(value, BaseModel)},
    }


def validate_config(model: type[C], tree: Tree, *, what: str = "config") -> C:
    """The config, or one sentence about the first thing that is wrong with it."""
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise UsageError(_say_error(model, tree, error, what)) from None


def _say_error(model: type[BaseModel], tree: Tree, error: ValidationError, what: str) -> str:
    first, *others = error.errors(include_url=False)
    about = first.get("ctx", {}) if first["type"] == "text_for_number" else {}
    path = ".".join(str(part) for part in (*first["loc"], *([about["field"]] if about else [])))
    path = path.removesuffix(".[key]")
    more = f" ({len(others)} more problem{'s' if len(others) > 1 else ''}.)" if others else ""
    if first["type"] == "extra_forbidden":
        name = str(first["loc"][-1])
        return f"Unknown key '{path}' in this {what}. {name_nearest(name, _sibling_names(model, tree, first['loc'][:-1]))}{more}"
    if first["type"] == "missing":
        return f"The key '{path}' is required in this {what}.{more}"
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    message = message[:1].lower() + message[1:]
    where = f"'{path}' cannot be {_shorten_value(about.get('given', first['input']))}: " if path else ""
    message += "" if message.endswith("?") else "."
    return f"{where}{message}{more}" if where else f"{message[:1].upper()}{message[1:]}{more}"


def _shorten_value(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _sibling_names(model: type[BaseModel], tree: Any, loc: tuple[int | str, ...]) -> set[str]:
    """Field names of whatever model sits at `loc`, searched through unions and lists by name."""
    models = [model]
    for part in loc:
        fields = [m.model_fields[part] for m in models if isinstance(part, str) and part in m.model_fields]
        inner = [nested for info in fields for nested in _models_in(info.annotation)]
        tagged = [m for m in models if isinstance(part, str) and _kind_of(m) == part]
        models = inner or tagged or models
    return {name for m in models for name in m.model_fields}


def _kind_of(model: type[BaseModel]) -> str | None:
    info = model.model_fields.get("kind")
    return info.default if info else None


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for arg in getattr(annotation, "__args__", ()) for m in _models_in(arg)]


def dump_config(config: Config) -> Tree:
    return config.model_dump(mode="json")


def compare_trees(old: Tree, new: Tree) -> dict[str, tuple[Any, Any]]:
    """Paths at which two resolved configs differ."""
    a, b = leaf_paths(old), leaf_paths(new)
    return {p: (a.get(p), b.get(p)) for p in sorted(a.keys() | b.keys()) if a.get(p, ...) != b.get(p, ...)}


# Names that were used once and still work: studies, methods, settings, values and functions, in one table.

# old name -> name of today
STUDIES: dict[str, str] = {}
METHODS: dict[str, str] = {"graft.roundtrip": "joint.survival"}  # grafts that are pruned use the prune room
# method of today -> {old dotted path: path of today}
SETTINGS: dict[str, dict[str, str]] = {}
# setting -> {old value: value of today}; what `cosine` means in training (half a period) was a quarter of one here
VALUES: dict[str, dict[str, str]] = {"decompose.schedule.kind": {"cosine": "quarter_cosine"}}
# functions of ours that a config may name as `py:module:name`
OBJECTS: dict[str, str] = {
    "digsite.decompose.sample:pairs": "digsite.decompose.subjects.targets:build_pairs",
    "digsite.decompose.sample:inputs": "digsite.decompose.subjects.targets:draw_pairs",
    "digsite.decompose.subjects.sample:pairs": "digsite.decompose.subjects.targets:build_pairs",
    "digsite.decompose.subjects.sample:inputs": "digsite.decompose.subjects.targets:draw_pairs",
    "digsite.joint.subjects.digits:trained_network": "digsite.joint.subjects.model:trained_network",
}


def current_study(name: str) -> str:
    return STUDIES.get(name, name)


def current_method(name: str) -> str:
    return METHODS.get(name, name)


def current_value(setting: str, value: Any) -> Any:
    """What a value of this setting is called today; values that were never renamed stay, whatever they are."""
    return VALUES[setting].get(value, value) if isinstance(value, str) else value


def current_object(target: str) -> str:
    """`module:name` of a function of ours, wherever it has moved since; somebody else's stays as it is."""
    return OBJECTS.get(target, target)


def current_settings(method: str, tree: dict[str, Any]) -> dict[str, Any]:
    """A config as today's method reads it: a value under an old path moves to the path of today.

    A path that is set under both names keeps what the newer name says.
    """
    for old, new in SETTINGS.get(method, {}).items():
        value, is_there = _take_value(tree, old.split("."))
        if is_there:
            tree = _put_value(_without_path(tree, old.split(".")), new.split("."), value)
    return tree


def _take_value(tree: Any, path: list[str]) -> tuple[Any, bool]:
    for step in path:
        if not isinstance(tree, dict) or step not in tree:
            return None, False
        tree = tree[step]
    return tree, True


def _without_path(tree: dict[str, Any], path: list[str]) -> dict[str, Any]:
    first, *rest = path
    if not rest:
        return {key: value for key, value in tree.items() if key != first}
    return {**tree, first: _without_path(tree[first], rest)}


def _put_value(tree: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    first, *rest = path
    if not rest:
        return {first: value, **tree}
    return {**tree, first: _put_value(tree.get(first, {}), rest, value)}
