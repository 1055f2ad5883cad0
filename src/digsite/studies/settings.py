"""Every setting of a study with its type, value, range and text: what `digsite info` prints and the page of studies shows."""

from typing import Any

from digsite.config.overrides import leaf_paths
from digsite.studies.find import Study
from digsite.studies.plan import plan_run
from digsite.worker import methods

_BOUNDS = (("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="), ("exclusiveMaximum", "<"))
SIZES = ("full", "quick", "smoke")


def brief_study(study: Study) -> dict[str, Any]:
    """What a list says of a study: nothing for which its method would have to be loaded."""
    return {
        "study": study.name,
        "room": study.room,
        "question": study.purpose,
        "minutes": study.minutes,
        "command": f"digsite run {study.name}",
    }


def describe_study(study: Study) -> dict[str, Any]:
    """Question, readme, sizes, the command, and one record per setting: key, type, value here, range, text."""
    readme = study.folder / "README.md"
    known = _walk_schema(methods.config_class(study.method).model_json_schema())
    values = leaf_paths(plan_run(study, size="full").tree)
    settings = [
        {"key": path, "value": value, **_facts_of(path, known, values)} for path, value in values.items()
    ]
    return {
        **brief_study(study),
        "stands_on": study.at_hand.sentence() if study.at_hand else "",
        "sizes": [size for size in SIZES if size == "full" or getattr(study, size, None) is not None],
        "readme": readme.read_text(errors="replace") if readme.is_file() else "",
        "settings": settings,
    }


def _facts_of(path: str, known: dict[str, dict[str, str]], values: dict[str, Any]) -> dict[str, str]:
    """Facts of the setting at a path; an item of a list is told by the list it stands in."""
    while path:
        for name in (path, *_names_in_schema(path, values)):
            if name in known:
                return known[name]
        path = path.rpartition(".")[0]
    return {"type": "", "range": "", "text": ""}


def _names_in_schema(path: str, values: dict[str, Any]) -> list[str]:
    """The path with one part that the user named replaced by `*` and its kind, as `_walk_schema` writes such entries."""
    parts = path.split(".")
    return [
        ".".join([*parts[:i], f"*{values.get('.'.join([*parts[: i + 1], 'kind']), '')}", *parts[i + 1 :]])
        for i in range(1, len(parts))
    ]


def _walk_schema(schema: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Dotted path -> type, range and text, from a JSON schema with its definitions; choices between models are joined."""
    known: dict[str, dict[str, str]] = {}

    def walk(node: dict[str, Any], path: str, depth: int) -> None:
        for part in _alternatives(node, schema):
            for name, field in part.get("properties", {}).items() if depth < 8 else ():
                inner = f"{path}.{name}" if path else name
                known.setdefault(inner, _describe_field(field, schema))
                walk(field, inner, depth + 1)
        if (
            isinstance(extra := node.get("additionalProperties"), dict) and depth < 8
        ):  # entries that a user names
            text = {"description": node.get("description", "")}
            known.setdefault(f"{path}.*", _describe_field({**text, **extra}, schema))
            for part in _alternatives(extra, schema):
                kind = part["properties"].get("kind", {}).get("const", "")
                walk(part, f"{path}.*{kind}", depth + 1)

    walk(schema, "", 0)
    return known


def _alternatives(node: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The object schemas that a field may hold."""
    if "$ref" in node:
        return _alternatives(schema["$defs"][node["$ref"].rpartition("/")[2]], schema)
    alternatives = [node] if "properties" in node else []
    for part in (*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("allOf", ())):
        alternatives += _alternatives(part, schema)
    return alternatives + (
        _alternatives(node["items"], schema) if isinstance(node.get("items"), dict) else []
    )


def _describe_field(field: dict[str, Any], schema: dict[str, Any]) -> dict[str, str]:
    """From the config's JSON schema, so that a page cannot say other than what is checked."""
    parts = [part for part in field.get("anyOf", [field]) if part.get("type") != "null"]
    kinds = [_kind_name(part, schema) for part in parts]
    bounds = [f"{sign} {part[key]:g}" for part in parts for key, sign in _BOUNDS if key in part]
    choices = [", ".join(map(str, part["enum"])) for part in parts if "enum" in part]
    return {
        "type": " or ".join(dict.fromkeys(kinds)),
        "range": "; ".join([*bounds, *choices]),
        "text": str(field.get("description", "")),
    }


def _kind_name(part: dict[str, Any], schema: dict[str, Any]) -> str:
    """A type in words."""
    if "$ref" in part:
        return "group"
    if part.get("type") == "array":
        items = part.get("items")
        return f"list of {_kind_name(items, schema)}" if isinstance(items, dict) else "list"
    names = {
        "integer": "whole number",
        "number": "number",
        "string": "text",
        "boolean": "yes or no",
        "object": "group",
    }
    return names.get(str(part.get("type")), "choice" if "const" in part or "enum" in part else "group")
