"""A table that can be sorted and searched. Source: a CSV file. Options: columns, link (a column with run names)."""

from typing import Any

from digsite.report.facts import read_table
from digsite.serve.views import View

ROWS = 5000


def data(view: View, params: Any) -> dict[str, Any]:
    path = view.path
    table = read_table(path.parent, path.stem, limit=ROWS)
    asked = view.options.get("columns")
    wanted = [c for c in asked if c in table.columns] if isinstance(asked, list) else list(table.columns)
    at = [table.columns.index(c) for c in wanted]
    rows = [[row[i] if i < len(row) else "" for i in at] for row in table.rows]
    shown = {key: view.options[key] for key in ("link", "caption") if key in view.options}
    return {"columns": wanted, "rows": rows, "total": table.total, **shown}
