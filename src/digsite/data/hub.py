"""Texts from a Hugging Face dataset: by name on the hub, or a local folder or file."""

from itertools import islice
from pathlib import Path
from typing import Any

from digsite.base import errors, settings
from digsite.base.errors import DigsiteError, NotFound, name_nearest

LOCAL = {".json": "json", ".jsonl": "json", ".csv": "csv", ".parquet": "parquet", ".txt": "text"}
INSTEAD = "Use the generated stories (digsite.data.stories), or a local file."


def texts(name: str, column: str = "text", split: str = "train", limit: int | None = None) -> list[str]:
    """The first `limit` texts of a column; a dataset on the hub is streamed, not downloaded whole."""
    rows = _open(name, split)
    known = list(rows.column_names or next(iter(rows), {}))
    if column not in known:
        raise NotFound(f"The dataset '{name}' has no column '{column}'.", hint=name_nearest(column, known))
    return [row[column] for row in islice(rows, limit)]


def _open(name: str, split: str) -> Any:
    datasets = errors.require_package("datasets", extra="hub")
    path = Path(name)
    if settings.is_offline() and not path.exists():
        raise NotFound(f"The dataset '{name}' is on the hub and DIGSITE_OFFLINE is set.", hint=INSTEAD)
    try:
        if path.suffix in LOCAL and path.is_file():
            return datasets.load_dataset(LOCAL[path.suffix], data_files=str(path), split="train")
        return datasets.load_dataset(name, split=split, streaming=not path.exists())
    except (FileNotFoundError, ConnectionError) as error:
        reason = str(error).partition("\n")[0]
        raise NotFound(f"The dataset '{name}' could not be reached ({reason}).", hint=INSTEAD) from None
    except ValueError as error:
        raise DigsiteError(f"The dataset '{name}' could not be opened ({error}).", hint=INSTEAD) from None
