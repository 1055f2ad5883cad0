"""What a room's run function sees of its run: streams, a journal, artifacts, claims, resumable work."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar, Unpack

import numpy as np
import pandas as pd
import torch

from digsite.base import atomic, jsonl, streams
from digsite.base.errors import DigsiteError
from digsite.base.intervals import Interval, exact_share
from digsite.record import provenance
from digsite.record.layout import RunDir
from digsite.record.results import (
    About,
    Claim,
    Results,
    Rival,
    as_rival,
    make_claim,
    strongest_rival,
    write_results,
)
from digsite.record.verdict import fill_verdict
from digsite.weights.writer import save_tensors
from digsite.worker.checkpoints import Checkpoints
from digsite.worker.process import StopRequest, World
from digsite.worker.progress import Progress

T = TypeVar("T")
State = dict[str, Any]
ALONE = World()
MOST_IN_HEADLINE = 5
LABELS = {"name", "title", "caption", "x_label", "y_label", "scrub_label", "unit", "marks", "log_y", "null"}
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
        self._headline, self._hero = (), ""
        self._written: set[str] = set()  # tables and artifacts of this process: one name is one thing
        self._log = logging.getLogger("digsite")
        self._checkpoints = Checkpoints(directory, checkpoint_every_s)

    @property
    def dir(self) -> Path:
        """For reading; write through the methods below."""
        return self.directory.path

    # --- randomness -------------------------------------------------------------------------------------

    def derive(self, name: str, *indices: int) -> int:
        """The seed of a named stream of this run."""
        return streams.derive_seed(self.seed, name, *indices)

    def generator(self, name: str, *indices: int) -> torch.Generator:
        """The same draws wherever in the run it is asked for."""
        return torch.Generator().manual_seed(self.derive(name, *indices))

    def rng(self, name: str, *indices: int) -> np.random.Generator:
        """As `generator`, for numpy."""
        return np.random.default_rng(self.derive(name, *indices))

    # --- what the run writes ----------------------------------------------------------------------------

    def log(self, step: int, **values: float) -> None:
        """One line of the journal; tensors are taken as numbers."""
        self._checkpoints.journal.log(step, values)
        self.progress.note_values(values)

    def cost(self, name: str, seconds: float, **more: float) -> None:
        """What something took on this machine: kept beside the clock, where two equal runs may differ."""
        jsonl.append_record(self.directory.clock, {"cost": name, "seconds": round(float(seconds), 3), **more})

    def say(self, text: str) -> None:
        """A line in the run's log."""
        self._log.info(
            text.encode("utf-8", "backslashreplace").decode()
        )  # half a pair breaks whatever shows the log

    def table(self, name: str, columns: pd.DataFrame | Mapping[str, Any], *, grows: bool = False) -> None:
        """`columns` as tables/`name`.csv. `grows`: the same table with more rows may be written again while work goes on."""
        frame = columns if isinstance(columns, pd.DataFrame) else pd.DataFrame(columns)
        target = self.directory.tables / f"{name}.csv"
        if grows:
            target.parent.mkdir(parents=True, exist_ok=True)
        with atomic.replace_file(target if grows else self._once_named(target)) as path:
            frame.to_csv(path, index=False)

    def figure(self, name: str, figure: Any, data: Any = None, *, caption: str = "") -> None:
        """PNG and SVG, the numbers behind them, and one sentence that says what to see; shown in the order drawn."""
        from digsite.figures import save_figure  # half a second, for runs that draw

        path = self._once_named(self.directory.figures / name)
        save_figure(figure, path, caption=caption)
        drawn = atomic.read_json_or(self.directory.figure_order, [])
        if name not in drawn:
            atomic.write_json(self.directory.figure_order, [*drawn, name])
        if data is not None:
            frame = data if isinstance(data, pd.DataFrame) else pd.DataFrame(data)
            with atomic.replace_file(path.with_name(f"{path.name}.csv")) as temporary:
                frame.to_csv(temporary, index=False)

    def tensors(
        self, name: str, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None
    ) -> Path:
        """An artifact by name; the same tensors give the same bytes."""
        target = self._once_named(self.directory.artifacts / f"{name}.safetensors")
        plain = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
        with atomic.replace_file(target) as path:
            save_tensors(plain, path, metadata)
        return target

    def json(self, name: str, value: Any) -> Path:
        """An artifact of plain data."""
        target = self._once_named(self.directory.artifacts / f"{name}.json")
        atomic.write_json(target, value)
        return target

    def view(self, name: str, kind: str, source: str, **options: Any) -> None:
        """Tell the dashboard how to show an artifact: it knows kinds, not methods."""
        assert kind in VIEW_KINDS, f"unknown view kind {kind!r}"
        self._once_named(self.directory.path / "views" / name, folder=False)
        known = atomic.read_json_or(self.directory.views, [])
        stored = {
            view["name"]: view
            for view in known
            if isinstance(view, dict) and isinstance(view.get("name"), str)
        }
        same = [
            old
            for old, view in stored.items()
            if old != name
            and shown_columns(view) == shown_columns({"kind": kind, "source": source, **options})
        ]
        if same:
            raise WrittenTwice(
                f"The views '{same[0]}' and '{name}' show the same columns of '{source}'.",
                hint="Store what the second one should show, and name it as its source.",
            )
        stored[name] = {"name": name, "kind": kind, "source": source, **options}
        atomic.write_json(self.directory.views, list(stored.values()))

    def claim(
        self,
        name: str,
        value: float | None = None,
        *,
        interval: Interval | None = None,
        rivals: Mapping[str, float | Rival | None] | None = None,
        **about: Unpack[About],
    ) -> Claim:
        """A value with its interval over n seeds or resamples, beside its null; without either it is a measurement.

        `interval`: from `base.intervals.seed_interval`, in place of value, low, high and n. `rivals`: name -> value; with
        `better` and no null of its own the strongest of them is the null. `about`: see `record.results.About`. What is
        not a number becomes a hole.
        """
        if interval is not None:
            value = interval.value if value is None else value
            about |= {"low": interval.low, "high": interval.high, "n": interval.n or about.get("n")}
        beside = tuple(as_rival(key, given) for key, given in (rivals or {}).items())
        if about.get("null") is None and (strongest := strongest_rival(beside, about.get("better", ""))):
            said = about.get("null_is") or f"the strongest rival: {strongest.name}"
            about |= {"null": strongest.value, "null_is": said}
        if name in self._claims:
            raise WrittenTwice(f"This run has claimed '{name}' already.", hint="Name what differs in the id.")
        points = () if interval is None else interval.points
        self._claims[name] = make_claim(name, value, rivals=beside, points=points, **about)
        return self._claims[name]

    def claim_share(self, name: str, hits: int, n: int, **about: Unpack[About]) -> Claim:  # pyright: ignore[reportGeneralTypeIssues]
        """A share that was counted: `hits` of `n`, with the exact interval; of none at all it is a hole."""
        low, high = exact_share(hits, n) if n else (None, None)
        shown: About = {"low": low, "high": high, "n": n, "kind": "share", **about}
        return self.claim(name, hits / n if n else None, **shown)

    def headline(self, claims: Sequence[str], hero: str = "") -> None:
        """What the answer is shown with: one to five claims by id or pattern, and the figure that shows it."""
        self._headline, self._hero = tuple(claims), hero

    def verdict(self, text: str, on: Sequence[str] = ()) -> None:
        """The answer in two sentences, its numbers written with `digsite.record.verdict.cite`.

        `on`: claims (names or patterns) that it rests on; they are listed after the headline. The sentence is filled in
        and checked when the run finishes: a number that is no claim or measurement of the run is refused.
        """
        self._verdict, self._grounds = text, tuple(on)

    def told(self, text: str) -> str:
        """A sentence with its cited numbers filled in from the claims made so far, for a document of the room's own."""
        return fill_verdict(text, tuple(self._claims.values()))[0]

    # --- resumable work ---------------------------------------------------------------------------------

    def once(self, name: str, compute: Callable[[], T], *, announce: bool = True) -> T:
        """`compute()`'s value; a resumed run reads it back. It is read back in any case, so both see the same bytes.

        Without `announce` the stage that was named before keeps its name, too.
        """
        if not self._checkpoints.has(f"once-{name}"):
            self.let_signals_in()
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
            self._request.exit_code = self.world.agree_on(self._request.exit_code)
            if self._request.exit_code is not None or self._checkpoints.due() or step + 1 == n:
                self._save(key, {"step": step + 1, "state": save()})
                self._request.raise_if_set()

    def lead(self, others: Sequence["Run"]) -> None:
        """Be the first run of a pack: its checkpoints remember the journals of the others, too."""
        self._checkpoints.journals = [run._checkpoints.journal for run in (self, *others)]

    def _save(self, name: str, state: State) -> None:
        self._checkpoints.save(name, state)

    def let_signals_in(self, done: int | None = None) -> None:
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
        atomic.remove_leftovers(self.directory.path)
        if not self.directory.provenance.exists():
            origin = provenance.collect_provenance(device=str(self.device), parent=parent)
            atomic.write_json(self.directory.provenance, origin)
        if reason := self._checkpoints.begin():
            self._log.warning("A checkpoint is damaged, so this run starts over: %s.", reason)
        self.world.wait()

    def finish(self) -> None:
        """Results first, state last: whoever sees `finished` finds everything there."""
        launch = self.directory.plan()
        headline = self._match_claims(self._headline)[:MOST_IN_HEADLINE]
        ordered = [
            self._claims[name]
            for name in dict.fromkeys([*headline, *self._match_claims(self._grounds), *self._claims])
        ]
        claims = sorted(ordered, key=lambda claim: (claim.name not in headline, claim.is_measurement))
        verdict, cited = fill_verdict(f"{self._verdict} {launch.get('stands_on', '')}".rstrip(), claims)
        self._checkpoints.journal.close()
        write_results(
            self.directory.results,
            Results(launch["study"], verdict, tuple(claims), tuple(headline), self._shown_hero(), cited),
        )
        self.progress.end("finished")

    def _match_claims(self, patterns: Sequence[str]) -> list[str]:
        """Ids of claims, in the order of the patterns."""
        return [
            name
            for pattern in patterns
            for name in self._claims
            if name == pattern or fnmatchcase(name, pattern)
        ]

    def _shown_hero(self) -> str:
        """The named figure, or else the first one drawn."""
        drawn = atomic.read_json(self.directory.figure_order, default=[])
        assert not self._hero or self._hero in drawn, f"the hero {self._hero!r} was not drawn"
        return self._hero or next(iter(drawn), "")

    def _once_named(self, path: Path, *, folder: bool = True) -> Path:
        """One name holds one thing: a table that is overwritten would be shown under the wrong title."""
        key = path.relative_to(self.dir).as_posix()
        if key in self._written:
            raise WrittenTwice(
                f"This run has written '{key}' already.", hint="Give the second one a name of its own."
            )
        self._written.add(key)
        if folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        return path


class WrittenTwice(DigsiteError):
    """Two things of one run under one name."""


def shown_columns(view: Mapping[str, Any]) -> tuple[str, ...]:
    """What a view draws, whatever it is called: two views of one run must differ in this."""
    return tuple(f"{key}={view[key]!r}" for key in sorted(view.keys() - LABELS))
