"""The figures of a run, and how they travel inside one HTML file."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from digsite.base import atomic
from digsite.record.shown import list_files

SVG_LIMIT = 400_000  # bytes; beyond this a scatter of thousands of points is better as pixels
ALBUM = 4  # figures in one folder from which on they are shown small, side by side
BUDGET = 7_500_000  # bytes of figures in one report, before base64 adds a third


@dataclass(frozen=True)
class Picture:
    name: str
    caption: str
    svg: Path | None
    png: Path | None
    data: Path | None

    @property
    def file(self) -> Path | None:
        """What to show: vectors unless they are huge."""
        if self.svg and (not self.png or self.svg.stat().st_size <= SVG_LIMIT):
            return self.svg
        return self.png


def find_pictures(folder: Path) -> tuple[Picture, ...]:
    """Every figure below `figures/`, in the order drawn; links are not followed."""
    if not folder.is_dir() or folder.is_symlink():
        return ()
    images = [path for path in sorted(list_files(folder)) if path.suffix in (".svg", ".png")]
    pictures = [
        _open_picture(stem, folder) for stem in dict.fromkeys(path.with_suffix("") for path in images)
    ]
    order = {name: i for i, name in enumerate(_read_order(folder))}
    return tuple(sorted(pictures, key=lambda picture: order.get(picture.name, len(order))))


def _read_order(folder: Path) -> list[str]:
    return [name for name in atomic.read_json_or(folder / "order.json", []) if isinstance(name, str)]


def _open_picture(stem: Path, folder: Path) -> Picture:
    def beside(suffix: str) -> Path | None:
        path = stem.with_name(stem.name + suffix)
        return path if path.is_file() and not path.is_symlink() else None

    text = beside(".txt")
    caption = text.read_text(encoding="utf-8", errors="replace").strip() if text else ""
    name = stem.relative_to(folder).as_posix()
    return Picture(name, caption, beside(".svg"), beside(".png"), beside(".csv"))


def group_albums(shown: Sequence[Picture]) -> tuple[list[Picture], dict[str, list[Picture]]]:
    """Figures that stand for themselves, and by folder those that are many of one kind."""
    albums: dict[str, list[Picture]] = {}
    for picture in shown:
        albums.setdefault(picture.name.rpartition("/")[0], []).append(picture)
    many = {folder: pictures for folder, pictures in albums.items() if folder and len(pictures) >= ALBUM}
    return [p for p in shown if p.name.rpartition("/")[0] not in many], many


def data_uri(picture: Picture) -> str | None:
    """Inside an <img>, where an SVG can neither run scripts nor fetch anything."""
    file = picture.file
    if file is None:
        return None
    data = file.read_bytes()
    return as_uri(theme_svg(data), "image/svg+xml") if file.suffix == ".svg" else as_uri(data, "image/png")


# White paper, black texts and gray grids turn; colors that mean something stay, and so do texts that stand on colored cells.
_AT_NIGHT = b"""<style>@media screen and (prefers-color-scheme: dark) {
[style*="fill: #ffffff"]:not(text) { fill: #16181b !important; }
[style*="stroke: #000000"] { stroke: #c9c9c5 !important; }
[style*="stroke: #e6e6e6"] { stroke: #303439 !important; }
[id^="matplotlib.axis"] text, [id^="legend"] text, [id^="figure"] > [id^="text"] text,
[id^="axes"] text[style*="700"], [id^="axes"]:not(:has(image, [id^="QuadMesh"])) > [id^="text"] text:not([style*="fill: #f"]) { fill: #e8e8e4 !important; }
}</style>"""


def theme_svg(data: bytes) -> bytes:
    """A figure of ours that follows the color scheme of the page that shows it; anything else stays as it is."""
    head, tag, rest = data.partition(b"</defs>")
    return head + tag + _AT_NIGHT + rest if tag and b"digsite" in head else data


def as_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def embed_pictures(chosen: list[Picture]) -> dict[Picture, str]:
    """Data URIs of as many figures as one file should carry, in their order."""
    uris, spent = {}, 0
    for picture in chosen:
        weight = picture.file.stat().st_size if picture.file else 0
        if picture.file and spent + weight <= BUDGET:
            uris[picture] = data_uri(picture)
            spent += weight
    return uris
