"""Copy a run's journal, figures, tables and claims to a tracker: live while it runs, or all at once later."""

import time
from importlib.util import find_spec
from pathlib import Path

from digsite.base import atomic, families, jsonl
from digsite.base.errors import MissingExtra, UsageError, name_nearest
from digsite.base.settings import load_dotenv
from digsite.base.stored import finite_number
from digsite.mirrors.mirror import Mirror, numbers_of
from digsite.record.layout import RunDir
from digsite.record.results import Results
from digsite.record.shown import read_claims

KINDS = "digsite.mirrors.kinds"


def kinds() -> list[str]:
    return families.list_members(KINDS)


def refuse_unknown(kind: str) -> None:
    """Before a run starts: a tracker that is unknown or not installed would copy nothing and say nothing."""
    if kind not in kinds():
        raise UsageError(f"There is no mirror '{kind}'. {name_nearest(kind, kinds())}")
    tracker, extra = getattr(families.scan_member(KINDS, kind), "NEEDS", ("", ""))
    if tracker and find_spec(tracker) is None:
        raise MissingExtra(
            f"The mirror '{kind}' needs the package '{tracker}', which is not installed.",
            hint=f"Install it: pip install 'digsite[{extra}]'",
        )


def follow(
    run: RunDir, kind: str, *, project: str = "digsite", live: bool = False, pause_s: float = 2.0
) -> None:
    """Copy everything; with `live`, go on until the run has ended. Copying again goes on where it stopped."""
    refuse_unknown(kind)
    load_dotenv(Path(".env"))
    mark = run.path / f".mirror-{kind}.json"
    stored = finite_number(atomic.read_json_or(mark, {}).get("offset", 0))
    offset = int(stored) if stored is not None and stored >= 0 else 0
    mirror: Mirror = families.scan_member(KINDS, kind).open_mirror(run, project)
    while True:
        ended = run.status().shown_state not in ("planned", "running")
        offset = _copy_journal(run, mirror, offset)
        atomic.write_json(mark, {"offset": offset})
        if ended or not live:
            break
        time.sleep(pause_s)
    _copy_files(run, mirror)
    mirror.close(failed=run.status().shown_state in ("failed", "killed"))


def _copy_journal(run: RunDir, mirror: Mirror, offset: int) -> int:
    """A resumed run cuts its journal back: then the copy starts again from there."""
    size = jsonl.whole_size(run.journal)
    for record in jsonl.read_records(run.journal, offset=min(offset, size)):
        step = finite_number(record.pop("step", 0))
        record.pop("time", None)
        numbers = {k: v for k, v in record.items() if finite_number(v) is not None}
        if numbers and step is not None:
            mirror.values(step, numbers)  # pyright: ignore[reportArgumentType]
    return size


def _copy_files(run: RunDir, mirror: Mirror) -> None:
    for path in sorted(run.figures.rglob("*.png")):
        mirror.figure(str(path.relative_to(run.figures).with_suffix("")), path)
    for path in sorted(run.tables.rglob("*.csv")):
        mirror.table(str(path.relative_to(run.tables).with_suffix("")), path)
    results = read_claims(run)
    if isinstance(results, Results):
        mirror.claims(numbers_of(results))
        hero = run.figures / f"{results.hero}.png"
        question = str(run.plan().get("purpose", ""))
        mirror.answer(question, results.verdict, hero if results.hero and hero.is_file() else None)
