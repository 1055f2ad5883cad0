"""Notebooks from plain Python: each file beside this one is run cell by cell and written as an executed .ipynb.

    python docs/notebooks/render.py            # all of them; a minute or two

A source is Python with `# %%` between cells, so that it is linted, searched and compared like all code; the notebook holds
what came out, and `docs/build_site.py` makes a page of it. Nothing but the standard library is needed to write one.
"""

import ast
import contextlib
import io
import json
import os
import re
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = sorted(path for path in HERE.glob("*.py") if path.name != "render.py")
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def split_cells(text: str) -> list[tuple[str, str]]:
    """(kind, source) of each cell."""
    cells = []
    for piece in re.split(r"(?m)^# %%", text)[1:]:
        head, _, body = piece.partition("\n")
        kind = "markdown" if "[markdown]" in head else "code"
        cells.append((kind, re.sub(r"(?m)^# ?", "", body).strip() if kind == "markdown" else body.strip()))
    return cells


def run_cell(source: str, names: dict[str, object]) -> list[dict[str, object]]:
    """What a cell prints, and its last line where that is a value, as a notebook stores them."""
    body = ast.parse(source).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(ast.Module(body, []), "cell", "exec"), names)
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None
    outputs: list[dict[str, object]] = []
    if said.getvalue():
        outputs.append(
            {"output_type": "stream", "name": "stdout", "text": said.getvalue().splitlines(keepends=True)}
        )
    if value is not None:
        html = getattr(value, "_repr_html_", lambda: None)()
        data = {"text/plain": [repr(value)]} | ({"text/html": html.splitlines(keepends=True)} if html else {})
        outputs.append(
            {"output_type": "execute_result", "execution_count": None, "metadata": {}, "data": data}
        )
    return outputs


def render_notebook(source: Path) -> dict[str, object]:
    """The notebook of one source, executed here in an empty folder."""
    names: dict[str, object] = {"__name__": "__main__"}
    cells = []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for number, (kind, text) in enumerate(split_cells(source.read_text()), 1):
            cell = {
                "cell_type": kind,
                "id": f"c{number}",
                "metadata": {},
                "source": text.splitlines(keepends=True),
            }
            if kind == "code":
                cell |= {"execution_count": number, "outputs": run_cell(text, names)}
            cells.append(cell)
    return {"cells": cells, "metadata": {"kernelspec": KERNEL}, "nbformat": 4, "nbformat_minor": 5}


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the digits of the outputs are those of one thread
    for path in [Path(word).resolve() for word in sys.argv[1:]] or SOURCES:
        path.with_suffix(".ipynb").write_text(
            json.dumps(render_notebook(path), indent=1, ensure_ascii=False) + "\n"
        )
        print(path.with_suffix(".ipynb"))
