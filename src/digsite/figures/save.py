"""A figure on disk: PNG for the eye, SVG for the paper, a caption for both."""

from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from digsite.base import atomic
from digsite.base.contract import public_method
from digsite.figures.style import RC

# Fixed metadata: a resumed run draws the same bytes as an uninterrupted one.
_METADATA = {"png": {"Software": "digsite"}, "svg": {"Date": None, "Creator": "digsite"}}


@public_method()
def save_figure(figure: Figure, path: Path, *, caption: str = "") -> None:
    """Write `path`.png and `path`.svg; the caption goes to `path`.txt, where reports find it."""
    with plt.rc_context(RC):
        for kind, metadata in _METADATA.items():
            with atomic.replace_file(path.with_name(f"{path.name}.{kind}")) as temporary:
                figure.savefig(temporary, format=kind, metadata=metadata)
    if caption:
        atomic.write_text(path.with_name(f"{path.name}.txt"), caption + "\n")
    plt.close(figure)
