"""Nodes and weighted edges, in layers where the nodes say so.

Source: JSON {"nodes": [{"id", "label", "layer", "size", "group"}], "edges": [{"source", "target", "weight"}]}.
"""

import json
from typing import Any

from digsite.base.errors import UsageError
from digsite.serve.views import View

NODES, EDGES = 600, 3000


def data(view: View, params: Any) -> dict[str, Any]:
    try:
        stored = json.loads(view.path.read_bytes())
        for part in [p for p in view.key.split(".") if p]:
            stored = stored[part]
        nodes, edges = list(stored["nodes"]), list(stored["edges"])
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        raise UsageError(f"'{view.source}' holds no nodes and edges.") from None
    edges.sort(key=lambda e: -abs(float(e.get("weight", 1) or 0)))
    caption = {"caption": view.options["caption"]} if "caption" in view.options else {}
    return {"nodes": nodes[:NODES], "edges": edges[:EDGES], "left_out": max(0, len(edges) - EDGES), **caption}
