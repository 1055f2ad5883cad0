"""English text by name or path, and windows of tokens from it."""

import json
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from digsite.base.errors import NotFound, UsageError, name_nearest
from digsite.data.fetch import Source, find, locate
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


def documents(name: str) -> list[str]:
    """The texts of a named corpus, or of a `.txt` file (one text) or `.json` file (a list of texts)."""
    path = _path(name)
    if path.suffix == ".json":
        texts = json.loads(path.read_text())
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise UsageError(f"'{path}' is not a JSON list of texts.")
        return texts
    return [part.strip("\n") for part in path.read_text().split(END_OF_TEXT) if part.strip()]


def _path(name: str) -> Path:
    if name == "tinyshakespeare":
        return locate("text", TINY_SHAKESPEARE)
    if name in LOCAL:
        if found := find("text", LOCAL[name]):
            return found
        raise NotFound(
            f"The corpus '{name}' is not on this machine and has no verified download.",
            hint=f"Put '{LOCAL[name]}' into the folder 'text' of DIGSITE_DATA, or use the generated stories.",
        )
    if (path := Path(name)).is_file():
        return path
    raise NotFound(f"There is no text '{name}'.", hint=name_nearest(name, ["tinyshakespeare", *LOCAL]))


def windows(texts: list[str], tokenizer: Tokenizer, length: int) -> Int[Tensor, "n length"]:
    """All texts as tokens, one behind the other, cut into rows; what does not fill a row is dropped."""
    stream = [i for text in texts for i in tokenizer.encode(text)]
    n = len(stream) // length
    if n == 0:
        raise UsageError(f"The text has {len(stream)} tokens, less than one window of {length}.")
    return torch.tensor(stream[: n * length]).view(n, length)
