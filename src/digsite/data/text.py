"""English text by name or path, and windows of tokens from it."""

import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from digsite.base import errors, settings
from digsite.base.errors import DigsiteError, NotFound, UsageError, name_nearest
from digsite.data.fetch import Source, find_file, locate_file
from digsite.data.tokenizers import Tokenizer

_COMMIT = "6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e"
TINY_SHAKESPEARE = Source(
    "tinyshakespeare.txt",
    "sha256:86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    (f"https://raw.githubusercontent.com/karpathy/char-rnn/{_COMMIT}/data/tinyshakespeare/input.txt",),
)
# Only where a data folder has them: their publishers give no hash of these excerpts.
LOCAL = {
    "tinystories": "tinystories_train_first1000.json",
    "tinystories_lowercase": "tinystories_train_lowercase.txt",
    "tinystories_v2": "tinystories_v2_train_head.txt",
    "tinystories_valid": "tinystories_valid_sample.txt",
}
END_OF_TEXT = "<|endoftext|>"


@dataclass(frozen=True)
class Standard:
    """A text that published perplexities are measured on: where the hub has it, how its rows are joined, and the context."""

    dataset: str
    config: str
    split: str
    file: str  # its name in the folder 'text' of DIGSITE_DATA, which is asked first
    context: int = 2048
    join: str = "\n\n"


# As in the papers on pruning and quantization: the whole split as one stream of tokens, cut every 2,048.
STANDARDS = {
    "wikitext2": Standard("Salesforce/wikitext", "wikitext-2-raw-v1", "test", "wikitext-2-raw-test.json"),
    "wikitext103": Standard(
        "Salesforce/wikitext", "wikitext-103-raw-v1", "test", "wikitext-103-raw-test.json"
    ),
}


def read_standard(name: str) -> tuple[str, int]:
    """The text of a published evaluation and its context length, from DIGSITE_DATA (a JSON list of rows) or the hub."""
    standard = STANDARDS[name]
    local = find_file("text", standard.file)
    if local is not None:
        rows = json.loads(local.read_text())
        if not isinstance(rows, list) or not all(isinstance(row, str) for row in rows):
            raise UsageError(f"'{local}' is not a JSON list of texts.")
    else:
        rows = read_hub_texts(standard.dataset, split=standard.split, config=standard.config)
    return standard.join.join(rows), standard.context


def read_documents(name: str) -> list[str]:
    """The texts of a named corpus, or of a `.txt` file (one text) or `.json` file (a list of texts)."""
    path = find_corpus(name)
    if path.suffix == ".json":
        texts = json.loads(path.read_text())
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise UsageError(f"'{path}' is not a JSON list of texts.")
        return texts
    return [part.strip("\n") for part in path.read_text().split(END_OF_TEXT) if part.strip()]


def find_corpus(name: str) -> Path:
    """A named corpus, a file in DIGSITE_DATA, or a path of the user's own."""
    if name == "tinyshakespeare":
        return locate_file("text", TINY_SHAKESPEARE)
    if name in LOCAL:
        if local := find_file("text", LOCAL[name]):
            return local
        raise NotFound(
            f"The corpus '{name}' is not on this machine and has no verified download.",
            hint=f"Put '{LOCAL[name]}' into the folder 'text' of DIGSITE_DATA, or use the generated stories.",
        )
    if (path := Path(name)).is_file():
        return path
    raise NotFound(f"There is no text '{name}'.", hint=name_nearest(name, ["tinyshakespeare", *LOCAL]))


def refuse_missing(name: str) -> None:
    """Before a run is made for it: a corpus that is not here is a slip. What is on the hub is looked for later."""
    if name == "tinyshakespeare" and not settings.is_offline():
        return
    if not name.startswith("hub:"):
        find_corpus(name)


def cut_windows(texts: list[str], tokenizer: Tokenizer, length: int) -> Int[Tensor, "n length"]:
    """All texts as tokens, one behind the other, cut into rows; what does not fill a row is dropped.

    Windows run over the ends of texts: a text shorter than a window would else be lost.
    """
    stream = [i for text in texts for i in tokenizer.encode(text)]
    n = len(stream) // length
    if n == 0:
        raise UsageError(f"The text has {len(stream)} tokens, less than one window of {length}.")
    return torch.tensor(stream[: n * length]).view(n, length)


# Texts from a Hugging Face dataset: by name on the hub, or a local folder or file.

LOADERS = {".json": "json", ".jsonl": "json", ".csv": "csv", ".parquet": "parquet", ".txt": "text"}
INSTEAD = "Use the generated stories (digsite.data.stories), or a local file."


def read_hub_texts(
    name: str, column: str = "text", split: str = "train", limit: int | None = None, config: str | None = None
) -> list[str]:
    """The first `limit` texts of a column; a dataset on the hub is streamed, not downloaded whole.

    `config` names one of several that a dataset has.
    """
    rows = _open_dataset(name, split, config)
    known = list(rows.column_names or next(iter(rows), {}))
    if column not in known:
        raise NotFound(f"The dataset '{name}' has no column '{column}'.", hint=name_nearest(column, known))
    return [row[column] for row in islice(rows, limit)]


def _open_dataset(name: str, split: str, config: str | None = None) -> Any:
    datasets = errors.require_package("datasets", extra="hub")
    path = Path(name)
    if settings.is_offline() and not path.exists():
        raise NotFound(f"The dataset '{name}' is on the hub and DIGSITE_OFFLINE is set.", hint=INSTEAD)
    try:
        if path.suffix in LOADERS and path.is_file():
            return datasets.load_dataset(LOADERS[path.suffix], data_files=str(path), split="train")
        return datasets.load_dataset(name, config, split=split, streaming=not path.exists())
    except (FileNotFoundError, ConnectionError) as error:
        reason = str(error).partition("\n")[0]
        raise NotFound(f"The dataset '{name}' could not be reached ({reason}).", hint=INSTEAD) from None
    except ValueError as error:
        raise DigsiteError(f"The dataset '{name}' could not be opened ({error}).", hint=INSTEAD) from None
