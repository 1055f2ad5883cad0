"""Names that were used once and still work: studies, methods and settings, in one table."""

from typing import Any

# old name -> name of today
STUDIES: dict[str, str] = {}
METHODS: dict[str, str] = {"graft.roundtrip": "joint.survival"}  # grafts that are pruned use the prune room
# method of today -> {old dotted path: path of today}
SETTINGS: dict[str, dict[str, str]] = {}


def current_study(name: str) -> str:
    return STUDIES.get(name, name)


def current_method(name: str) -> str:
    return METHODS.get(name, name)


def current_settings(method: str, tree: dict[str, Any]) -> dict[str, Any]:
    """A config as today's method reads it: a value under an old path moves to the path of today.

    A path that is set under both names keeps what the newer name says.
    """
    for old, new in SETTINGS.get(method, {}).items():
        value, found = _take(tree, old.split("."))
        if found:
            tree = _put(_without(tree, old.split(".")), new.split("."), value)
    return tree


def _take(tree: Any, path: list[str]) -> tuple[Any, bool]:
    for step in path:
        if not isinstance(tree, dict) or step not in tree:
            return None, False
        tree = tree[step]
    return tree, True


def _without(tree: dict[str, Any], path: list[str]) -> dict[str, Any]:
    first, *rest = path
    if not rest:
        return {key: value for key, value in tree.items() if key != first}
    return {**tree, first: _without(tree[first], rest)}


def _put(tree: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    first, *rest = path
    if not rest:
        return {first: value, **tree}
    return {**tree, first: _put(tree.get(first, {}), rest, value)}
