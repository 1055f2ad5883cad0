"""TensorBoard event files inside the run directory, written without TensorBoard."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from digsite.base.errors import require_package
from digsite.mirrors.mirror import settings_of
from digsite.record.layout import RunDir

NEEDS = ("tensorboardX", "tensorboard")  # the tracker's package, and the extra that brings it


class TensorBoardMirror:
    def __init__(self, run: RunDir) -> None:
        self.writer: Any = require_package("tensorboardX", extra="tensorboard").SummaryWriter(
            str(run.path / "tensorboard")
        )
        text = "\n".join(f"    {key}: {value}" for key, value in settings_of(run).items())
        self.writer.add_text("config", text)

    def values(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def figure(self, name: str, path: Path) -> None:
        import matplotlib.image

        pixels = matplotlib.image.imread(path)[..., :3]
        self.writer.add_image(f"figures/{name}", pixels, 0, dataformats="HWC")

    def table(self, name: str, path: Path) -> None:
        rows = [line.split(",") for line in path.read_text().splitlines()[:200]]
        rule = ["---"] * len(rows[0])
        self.writer.add_text(
            f"tables/{name}", "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], rule, *rows[1:]])
        )

    def claims(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, 0)

    def answer(self, question: str, verdict: str, hero: Path | None) -> None:
        self.writer.add_text("answer", f"**{question}**\n\n{verdict}")
        if hero:
            import matplotlib.image

            self.writer.add_image("hero", matplotlib.image.imread(hero)[..., :3], 0, dataformats="HWC")

    def close(self, failed: bool) -> None:
        self.writer.close()


def open_mirror(run: RunDir, project: str) -> TensorBoardMirror:
    return TensorBoardMirror(run)
