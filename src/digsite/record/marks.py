"""What a person says of a run after the fact: tags, a note, a star. A file of its own beside the run's records, never in them.

A result says the same whoever has looked at it, so marks are no part of `launch.yaml` or `results.json`. Two people may write
at once: each change is read, changed and replaced under a lock of its own, so that neither loses what the other said.
"""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from filelock import FileLock, Timeout

from digsite.base import atomic, stored
from digsite.base.errors import LockHeld, UsageError
from digsite.record.layout import RunDir

FILE, LOCK = "marks.json", ".marks.lock"
TAG_LIMIT, NOTE_LIMIT, TAGS_LIMIT = 60, 4000, 40  # characters of a tag and of a note, tags of a run
_PATIENCE_S = 5.0


@dataclass(frozen=True)
class Marks:
    """The marks of one run; nothing said is the default."""

    tags: tuple[str, ...] = ()
    note: str = ""
    star: bool = False


def read_marks(run: RunDir) -> Marks:
    """What was said of a run; a damaged file says nothing, because it can be said again."""
    raw = stored.read_json(run.path / FILE, kind=dict)
    if not isinstance(raw, dict):
        return Marks()
    tags = raw.get("tags")
    words = [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
    note = raw.get("note")
    return Marks(
        tuple(word[:TAG_LIMIT] for word in words[:TAGS_LIMIT]),
        note[:NOTE_LIMIT] if isinstance(note, str) else "",
        raw.get("star") is True,
    )


def change_marks(
    run: RunDir,
    *,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    note: str | None = None,
    star: bool | None = None,
) -> Marks:
    """Add and remove tags, replace the note (`""` removes it), set or take the star; what is not named stays.

    Returns the marks as they are now. Nothing is written when a tag or the note is refused.
    """
    added = [_clean_tag(tag) for tag in add]
    if note is not None and len(note) > NOTE_LIMIT:
        raise UsageError(
            f"A note has at most {NOTE_LIMIT:,} characters, and this one has {len(note):,}.",
            hint="Put long texts into a file of the run's folder.",
        )
    lock = FileLock(run.path / LOCK, timeout=_PATIENCE_S)
    try:
        with lock:
            before = read_marks(run)
            tags = list(dict.fromkeys([*(t for t in before.tags if t not in remove), *added]))
            if len(tags) > TAGS_LIMIT:
                raise UsageError(
                    f"A run has at most {TAGS_LIMIT} tags, and '{run.id}' would have {len(tags)}."
                )
            said = before if note is None else replace(before, note=note.strip())
            marks = replace(said, tags=tuple(tags), star=before.star if star is None else star)
            atomic.write_json(run.path / FILE, {"schema": 1, **asdict(marks)})
    except Timeout:
        raise LockHeld(
            f"The marks of '{run.id}' are being written by another process.", hint="Try again."
        ) from None
    except OSError as error:
        raise UsageError(f"The marks of '{run.id}' cannot be written: {error.strerror or error}.") from None
    with suppress(OSError):  # a dashboard looks into a study's folder when that has changed, and only then
        os.utime(run.path.parent, (time.time(), time.time()))
    return marks


def _clean_tag(tag: str) -> str:
    """A tag as it is kept: one line of words that a filter can name."""
    words = " ".join(tag.split())
    if not words or not words.isprintable():
        raise UsageError(f"{tag[:40]!r} is no tag.", hint="A tag is a few words on one line.")
    if len(words) > TAG_LIMIT:
        raise UsageError(
            f"A tag has at most {TAG_LIMIT} characters, and '{words[:30]}...' has {len(words):,}."
        )
    return words


def as_record(marks: Marks) -> dict[str, Any]:
    """The marks as `--json` and the dashboard's /api give them."""
    return {"tags": list(marks.tags), "note": marks.note, "star": marks.star}
