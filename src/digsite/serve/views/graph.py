"""Nodes and weighted edges, in layers where the nodes say so.

Source: JSON {"nodes": [{"id", "label", "layer", "size", "group"}], "edges": [{"source", "target", "weight"}]}.
"""

from typing import Any

from digsite.base.errors import UsageError
from digsite.base.stored import finite_number, read_json
from digsite.serve.views import View

NODES, EDGES = 600, 3000


def data(view: View, params: Any) -> dict[str, Any]:
    found = read_json(view.path, kind=dict)
    for part in [p for p in view.key.split(".") if p]:
        found = found.get(part) if isinstance(found, dict) else None
    nodes, edges = (_entries(found, name) for name in ("nodes", "edges"))
    if nodes is None or edges is None:
        raise UsageError(f"'{view.source}' holds no nodes and edges.")
    edges.sort(key=lambda e: -abs(finite_number(e.get("weight", 1)) or 0))
    caption = {"caption": view.options["caption"]} if "caption" in view.options else {}
    return {"nodes": nodes[:NODES], "edges": edges[:EDGES], "left_out": max(0, len(edges) - EDGES), **caption}


def _entries(found: Any, name: str) -> list[dict[str, Any]] | None:
    listed = found.get(name) if isinstance(found, dict) else None
    return [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else None
