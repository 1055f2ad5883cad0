"""A run as the processes beside the first see it: the same streams and checkpoints, and nothing is written."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from digsite.worker.progress import Progress
from digsite.worker.run import Run

T = TypeVar("T")


class SilentProgress(Progress):
    def start(self) -> None:
        pass

    def _write(self, **changes: Any) -> None:
        pass

    def _show(self, now: float) -> None:
        pass


class Follower(Run):
    def log(self, step: int, **values: float) -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def table(self, name: str, columns: Any, *, grows: bool = False) -> None:
        pass

    def figure(self, name: str, figure: Any, data: Any = None, *, caption: str = "") -> None:
        pass

    def tensors(self, name: str, tensors: Any, metadata: Mapping[str, str] | None = None) -> Path:
        return self.directory.artifacts / f"{name}.safetensors"

    def json(self, name: str, value: Any) -> Path:
        return self.directory.artifacts / f"{name}.json"

    def view(self, name: str, kind: str, source: str, **options: Any) -> None:
        pass

    def once(self, name: str, compute: Callable[[], T], *, announce: bool = True) -> T:
        """What the first process computed."""
        self.world.wait()
        return self._checkpoints.load(f"once-{name}")

    def cost(self, name: str, seconds: float, **more: float) -> None:
        pass

    def begin(self, *, parent: str | None = None) -> None:
        """Until the first process has looked through the checkpoints."""
        self.world.wait()

    def finish(self) -> None:
        pass

    def _save(self, name: str, state: Any) -> None:
        pass
