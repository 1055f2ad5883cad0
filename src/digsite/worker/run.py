"""What a room's run function sees of its run: streams, a journal, artifacts, claims, resumable work."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

from digsite.base import atomic, streams
from digsite.figures import save_figure
from digsite.record import provenance
from digsite.record.layout import RunDir
from digsite.record.results import Claim, Results, write_results
from digsite.worker.checkpoints import Checkpoints
from digsite.worker.progress import Progress
from digsite.worker.signals import StopRequest
from digsite.worker.world import World

T = TypeVar("T")
State = dict[str, Any]
ALONE = World()
VIEW_KINDS = ("curve", "matrix", "histogram", "graph", "table", "image", "components")


class Run:
    """The one object through which a room touches its run directory."""

    def __init__(
        self,
        directory: RunDir,
        *,
        seed: int,
        device: torch.device,
        progress: Progress,
        request: StopRequest,
        checkpoint_every_s: float,
        world: World = ALONE,
    ) -> None:
        self.directory = directory
        self.seed = seed
        self.device = device
        self.progress = progress
        self.world = world
        self._request = request
        self._claims: dict[str, Claim] = {}
        self._verdict, self._grounds = "", ()
        self._log = logging.getLogger("digsite")
        self._checkpoints = Checkpoints(directory, checkpoint_every_s)

    @property
    def dir(self) -> Path:
        """For reading; write through the methods below."""
        return self.directory.path

    # --- randomness -------------------------------------------------------------------------------------

    def derive(self, name: str, *indices: int) -> int:
        return streams.derive(self.seed, name, *indices)

    def generator(self, name: str, *indices: int) -> torch.Generator:
        return torch.Generator().manual_seed(self.derive(name, *indices))

    def rng(self, name: str, *indices: int) -> np.random.Generator:
        return np.random.default_rng(self.derive(name, *indices))

    # --- what the run writes ----------------------------------------------------------------------------

    def log(self, step: int, **values: float) -> None:
        """One line of the journal; tensors are taken as numbers."""
        self._checkpoints.journal.log(step, values)

    def say(self, text: str) -> None:
        self._log.info(text)

    def table(self, name: str, columns: pd.DataFrame | Mapping[str, Any]) -> None:
        frame = columns if isinstance(columns, pd.DataFrame) else pd.DataFrame(columns)
        with atomic.replacing(_placed(self.directory.tables, f"{name}.csv")) as path:
            frame.to_csv(path, index=False)

    def figure(self, name: str, figure: Any, data: Any = None, *, caption: str = "") -> None:
        """PNG and SVG, the numbers behind them, and one sentence that says what to see; shown in the order drawn."""
        path = _placed(self.directory.figures, name)
        save_figure(figure, path, caption=caption)
        drawn = atomic.read_json(self.directory.figure_order, default=[])
        if name not in drawn:
            atomic.write_json(self.directory.figure_order, [*drawn, name])
        if data is not None:
            frame = data if isinstance(data, pd.DataFrame) else pd.DataFrame(data)
            frame.to_csv(path.with_name(f"{path.name}.csv"), index=False)

    def tensors(
        self, name: str, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None
    ) -> Path:
        target = _placed(self.directory.artifacts, f"{name}.safetensors")
        plain = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
        with atomic.replacing(target) as path:
            save_file(plain, path, metadata=dict(metadata or {}))
        return target

    def json(self, name: str, value: Any) -> Path:
        target = _placed(self.directory.artifacts, f"{name}.json")
        atomic.write_json(target, value)
        return target

    def view(self, name: str, kind: str, source: str, **options: Any) -> None:
        """Tell the dashboard how to show an artifact: it knows kinds, not methods."""
        assert kind in VIEW_KINDS, f"unknown view kind {kind!r}"
        stored = {view["name"]: view for view in atomic.read_json(self.directory.views, default=[])}
        stored[name] = {"name": name, "kind": kind, "source": source, **options}
        atomic.write_json(self.directory.views, list(stored.values()))

    def claim(
        self,
        name: str,
        value: float | None,
        *,
        low: float | None = None,
        high: float | None = None,
        n: int | None = None,
        null: float | None = None,
        unit: str = "",
        note: str = "",
        null_low: float | None = None,
        null_high: float | None = None,
    ) -> None:
        """One row of results.json: a value with its interval over n seeds or resamples, beside its null."""
        self._claims[name] = Claim(
            name,
            _number(value),
            _number(low),
            _number(high),
            n,
            _number(null),
            unit,
            note,
            _number(null_low),
            _number(null_high),
        )

    def verdict(self, text: str, on: Sequence[str] = ()) -> None:
        """The answer in two sentences, and the claims (names or patterns) it rests on: those are listed first."""
        self._verdict, self._grounds = text, tuple(on)

    # --- resumable work ---------------------------------------------------------------------------------

    def once(self, name: str, compute: Callable[[], T], *, announce: bool = True) -> T:
        """`compute()`'s value; a resumed run reads it back. It is read back in any case, so both see the same bytes.

        Without `announce` the stage that was named before keeps its name, too.
        """
        if not self._checkpoints.has(f"once-{name}"):
            self.breathe()
            if announce:
                self.progress.part(name)
            self._checkpoints.save(f"once-{name}", compute())
        self.world.wait()
        return self._checkpoints.load(f"once-{name}")

    def steps(
        self, n: int, save: Callable[[], State], load: Callable[[State], None], *, name: str = "steps"
    ) -> Iterator[int]:
        """The steps that are left of n. State is saved on a clock, on signals and at the end."""
        key, start = f"steps-{name}", 0
        if self._checkpoints.has(key):
            stored = self._checkpoints.load(key)
            start = stored["step"]
            load(stored["state"])
        self.progress.stage(name, start, n)
        for step in range(start, n):
            yield step
            self.progress.step(step + 1)
            self._request.exit_code = self.world.agree(self._request.exit_code)
            if self._request.exit_code is not None or self._checkpoints.due() or step + 1 == n:
                self._save(key, {"step": step + 1, "state": save()})
                self._request.raise_if_set()

    def mark(self) -> None:
        """Remember how long the journal is, for runs whose state is in the checkpoints of the pack's first run."""
        self._save("mark", {})

    def _save(self, name: str, state: State) -> None:
        self._checkpoints.save(name, state)

    def breathe(self, done: int | None = None) -> None:
        """For long work outside of `steps`: shows progress and leaves here if a signal asked for it."""
        if done is not None:
            self.progress.step(done)
        self._request.raise_if_set()

    def stage(self, name: str, total: int = 0) -> None:
        """Name what is going on, for the status line and the dashboard."""
        self.progress.stage(name, 0, total)

    # --- for the worker -----------------------------------------------------------------------------------

    def begin(self, *, parent: str | None = None) -> None:
        """Mark the run as running, and go back to what its newest checkpoint knew."""
        self.progress.start()
        self.directory.error.unlink(missing_ok=True)
        if not self.directory.provenance.exists():
            origin = provenance.collect(device=str(self.device), parent=parent)
            atomic.write_json(self.directory.provenance, origin)
        self._checkpoints.rewind_journal()

    def finish(self) -> None:
        """Results first, state last: whoever sees `finished` finds everything there."""
        study = self.directory.plan()["study"]
        first = [name for pattern in self._grounds for name in self._claims if fnmatchcase(name, pattern)]
        claims = tuple(self._claims[name] for name in dict.fromkeys([*first, *self._claims]))
        write_results(self.directory.results, Results(study, self._verdict, claims))
        self.progress.end("finished")


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _placed(folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
