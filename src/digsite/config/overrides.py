"""Dotted overrides on the command line: `train.lr=3e-4 losses.0.coeff=1 ~losses.2 @extra.yaml`."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeGuard

from digsite.base.errors import UsageError, name_nearest
from digsite.base.stored import is_text
from digsite.config import yamlio

Tree = dict[str, Any]
_PLACE = re.compile(r"-?[0-9]{1,6}", re.ASCII)


def merge_trees(base: Tree, over: Tree) -> Tree:
    """`over` wins; mappings merge key by key, except that a mapping of another `kind` replaces the old one.

    `~key: null` takes the key away.
    """
    merged = dict(base)
    for key, value in over.items():
        if str(key).startswith("~"):
            merged.pop(key[1:], None)
            continue
        old = merged.get(key)
        if isinstance(value, dict):
            value = merge_trees(old if _same_kind(old, value) else {}, value)
        merged[key] = value
    return merged


def _same_kind(old: Any, value: Any) -> TypeGuard[Tree]:
    if not (isinstance(old, dict) and isinstance(value, dict)):
        return False
    return value.get("kind", old.get("kind")) == old.get("kind")


def apply_overrides(tree: Tree, texts: list[str] | tuple[str, ...]) -> Tree:
    """The tree with each override applied in turn; the given tree is left alone."""
    for text in texts:
        tree = _apply_one(tree, text)
    return tree


def _apply_one(tree: Tree, text: str) -> Tree:
    if text.startswith("@"):
        return merge_trees(tree, yamlio.load_yaml(Path(text[1:])))
    if text.startswith("~"):
        return _edit_node(tree, text[1:].split("."), text, delete=True)
    path, equals, value = text.partition("=")
    if not equals or not path or not is_text(text) or path.count(".") >= yamlio.MAX_DEPTH:
        raise UsageError(
            f"{ascii(text[:80]) if not is_text(text) else repr(text[:80])} is not an override.",
            hint="Write key.path=value, ~key.path or @file.yaml.",
        )
    return _edit_node(tree, path.split("."), text, yamlio.parse_yaml(value, where=f"The value of '{path}'"))


def put_value(tree: Tree, path: str, value: Any) -> Tree:
    """The tree with one value at a dotted path."""
    return _edit_node(tree, path.split("."), f"{path}={value}", value)


def _edit_node(node: Any, path: list[str], text: str, value: Any = None, *, delete: bool = False) -> Any:
    head, *rest = path
    if isinstance(node, list):
        return _edit_list(node, head, rest, text, value, delete)
    if node is None:
        node = {}
    if not isinstance(node, dict):
        raise UsageError(
            f"'{text[:80]}' goes below '{head[:80]}', where there is a plain value ({node!r:.60})."
        )
    edited = dict(node)
    if rest:
        edited[head] = _edit_node(node.get(head), rest, text, value, delete=delete)
    elif delete:
        edited.pop(head, None)
    else:
        edited[head] = value
    return edited


def _edit_list(node: list, head: str, rest: list[str], text: str, value: Any, delete: bool) -> list:
    last = len(node) - (0 if not rest and not delete else 1)
    if not _PLACE.fullmatch(head) or not -len(node) <= int(head) <= last:
        raise UsageError(
            f"'{text[:80]}': '{head[:80]}' is not a place in a list of {len(node)}.",
            hint=f"Use 0 to {len(node)}.",
        )
    index, edited = int(head), list(node)
    if rest:
        edited[index] = _edit_node(node[index], rest, text, value, delete=delete)
    elif delete:
        del edited[index]
    else:
        edited[index : index + 1] = [value]
    return edited


def leaf_paths(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Every leaf by its dotted path; lists count as leaves unless they hold mappings."""
    if isinstance(tree, dict) and tree:
        return {k: v for key, sub in tree.items() for k, v in leaf_paths(sub, f"{prefix}{key}.").items()}
    if isinstance(tree, list) and any(isinstance(item, dict) for item in tree):
        return {k: v for i, sub in enumerate(tree) for k, v in leaf_paths(sub, f"{prefix}{i}.").items()}
    return {prefix[:-1]: tree} if prefix else {}


# A setting may be named by the end of its path: `steps` for `decompose.steps`.


def find_path(name: str, leaves: Iterable[str], *, section: str = "", what: str = "config") -> str:
    """The one path that ends in this name; if several do, the one at the top or in the room's own section."""
    known = _all_nodes(leaves)
    ends = sorted(path for path in known if f".{path}".endswith(f".{name}"))
    own = [path for path in (name, f"{section}.{name}") if path in ends]
    if len(ends) > 1 and not own:
        raise UsageError(f"'{name}' could be {', '.join(ends)} in this {what}.", hint="Write the whole path.")
    if not ends:
        raise UsageError(f"Unknown key '{name}' in this {what}. {_say_accepted(name, known, section)}")
    return (own or ends)[0]


def _all_nodes(leaves: Iterable[str]) -> set[str]:
    """Those paths and every path above them."""
    parts = (leaf.split(".") for leaf in leaves)
    return {".".join(part[:end]) for part in parts for end in range(1, len(part) + 1)}


def _say_accepted(name: str, known: set[str], section: str) -> str:
    """Names are compared by their last part and shown whole, the shallowest of equal ones."""
    order = sorted(known, key=lambda path: (path.count("."), not path.startswith(f"{section}."), path))
    shown = {path.rpartition(".")[2]: path for path in reversed(order)}
    close = get_close_matches(name.rpartition(".")[2], shown, n=3, cutoff=0.75)
    if close:
        return f"Did you mean {' or '.join(repr(shown[word]) for word in close)}?"
    return name_nearest(name, {path for path in known if "." not in path})
