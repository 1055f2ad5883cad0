"""What objects show of themselves in a notebook: a title, a few facts, a picture."""

import base64
import io
from collections.abc import Mapping
from html import escape
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from digsite.figures.style import RC


def notebook_card(title: str, facts: Mapping[str, Any], figure: Figure | None = None) -> str:
    """HTML without scripts or styles of its own, so that it looks at home in every notebook.

    `facts` are shown as a table of two columns, `figure` below it.
    """
    rows = "".join(f"<tr><th>{escape(str(k))}</th><td>{escape(str(v))}</td></tr>" for k, v in facts.items())
    picture = f'<img alt="{escape(title)}" src="{figure_uri(figure)}">' if figure else ""
    return f"<div><p><b>{escape(title)}</b></p><table>{rows}</table>{picture}</div>"


def figure_uri(figure: Figure) -> str:
    """The picture inside of the HTML, so that a saved notebook needs no file beside it."""
    buffer = io.BytesIO()
    with plt.rc_context(RC):
        figure.savefig(buffer, format="png", dpi=100, metadata={"Software": "digsite"})
    plt.close(figure)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
