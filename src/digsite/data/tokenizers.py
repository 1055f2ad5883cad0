"""From text to token ids and back: whole words, single characters, and SentencePiece files without the package."""

import re
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from digsite.base import errors, stored
from digsite.base.contract import public_method
from digsite.base.errors import DigsiteError, UsageError

MOST_BYTES = 200_000_000  # a tokenizer file is a few megabytes; a model in its place is not read into memory
SPACE = "▁"  # SentencePiece's sign for a space
BYTE_SPACE = "Ġ"  # that of byte-level byte-pair encoding


class Tokenizer(Protocol):
    """What a language model needs of one; decode(encode(text)) gives the text back, up to what is unknown."""

    @property
    def size(self) -> int: ...
    @property
    def vocabulary(self) -> dict[str, int]: ...
    def encode(self, text: str) -> list[int]: ...
    def decode(self, ids: Iterable[int]) -> str: ...


@dataclass(frozen=True)
class WordTokenizer:
    """Words between spaces; ids 0, 1, 2 are padding, beginning and unknown."""

    words: tuple[str, ...]
    pad: int = 0
    bos: int = 1
    unknown: int = 2

    @property
    def size(self) -> int:
        return len(self.words) + 3

    @property
    def vocabulary(self) -> dict[str, int]:
        """The id of every token, those without a word too."""
        return {self.token(i): i for i in range(self.size)}

    @cached_property
    def _piece_index(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words, 3)}

    def ids(self, words: Iterable[str]) -> list[int]:
        """Ids of words, without a beginning token."""
        return [self._piece_index.get(word, self.unknown) for word in words]

    def encode(self, text: str) -> list[int]:
        return [self.bos, *self.ids(text.split())]

    def token(self, i: int) -> str:
        """The word of an id, or what stands for it."""
        return ("<pad>", "<s>", "<unk>", *self.words)[i]

    def decode(self, ids: Iterable[int]) -> str:
        return " ".join(self.token(i) for i in ids if i not in (self.pad, self.bos))


@dataclass(frozen=True)
class CharTokenizer:
    """One id for each character of an alphabet; others are dropped."""

    alphabet: str

    @classmethod
    def of(cls, text: str) -> "CharTokenizer":
        """The alphabet of a text."""
        return cls("".join(sorted(set(text))))

    @property
    def size(self) -> int:
        return len(self.alphabet)

    @property
    def vocabulary(self) -> dict[str, int]:
        """The id of every character."""
        return {c: i for i, c in enumerate(self.alphabet)}

    def encode(self, text: str) -> list[int]:
        index = {c: i for i, c in enumerate(self.alphabet)}
        return [index[c] for c in text if c in index]

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self.alphabet[i] for i in ids)


@dataclass(frozen=True)
class PieceTokenizer:
    """SentencePiece's byte-pair encoding: merge the neighbors whose joint piece scores highest, until none is left."""

    pieces: tuple[str, ...]
    scores: tuple[float, ...]
    unknown: int = 0
    bos: int = 1
    eos: int = 2

    @property
    def size(self) -> int:
        return len(self.pieces)

    @property
    def vocabulary(self) -> dict[str, int]:
        """The id of every piece; of two that are spelled alike the first."""
        return dict(self._piece_index)

    @cached_property
    def _piece_index(self) -> dict[str, int]:
        return {piece: i for i, piece in reversed(list(enumerate(self.pieces)))}

    def encode(self, text: str) -> list[int]:
        known: dict[str, list[int]] = {}
        ids = [self.bos]
        for part in self._split_parts(" " + text) if text else []:
            if part not in known:
                known[part] = self._merge_pairs([i for c in part for i in self._encode_character(c)])
            ids += known[part]
        return ids

    def _split_parts(self, text: str) -> list[str]:
        """Stretches that no merge can join, so that each is worked on once: words, unless a piece spans two."""
        return [text] if self._spans_words else re.findall(" [^ ]*", text)

    @cached_property
    def _spans_words(self) -> bool:
        return any(" " in piece[1:] for piece in self.pieces)

    def _merge_pairs(self, ids: list[int]) -> list[int]:
        """Each round joins the pair whose piece scores highest; equal scores are joined from the left."""
        while True:
            joint = [self._piece_index.get(self.pieces[a] + self.pieces[b], -1) for a, b in pairwise(ids)]
            best = max(range(len(joint)), key=lambda i: self._score_piece(joint[i]), default=-1)
            if best < 0 or joint[best] < 0:
                return ids
            ids[best : best + 2] = [joint[best]]

    def _score_piece(self, piece: int) -> float:
        """A pair that is no piece can never be joined."""
        return self.scores[piece] if piece >= 0 else float("-inf")

    def _encode_character(self, character: str) -> list[int]:
        """A character that is no piece becomes its bytes, for which every such vocabulary has pieces."""
        if character in self._piece_index:
            return [self._piece_index[character]]
        return [self._piece_index.get(f"<0x{byte:02X}>", self.unknown) for byte in character.encode()]

    def decode(self, ids: Iterable[int]) -> str:
        data = b"".join(self._piece_bytes(i) for i in ids if i not in (self.bos, self.eos))
        return data.decode(errors="replace").removeprefix(" ")

    def _piece_bytes(self, i: int) -> bytes:
        """`<0x41>` is the byte 65, anything else its text."""
        piece = self.pieces[i]
        is_byte = len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">")
        return bytes([int(piece[3:5], 16)]) if is_byte else piece.encode()


@dataclass(frozen=True)
class FastTokenizer:
    """A Hugging Face `tokenizer.json`."""

    inner: Any

    @property
    def size(self) -> int:
        return self.inner.get_vocab_size()

    @property
    def vocabulary(self) -> dict[str, int]:
        """The id of every token, a space before a word spelled as a space, as all tokenizers here do it."""
        stored_ids: dict[str, int] = self.inner.get_vocab()
        spelled = {token: token.replace(SPACE, " ").replace(BYTE_SPACE, " ") for token in stored_ids}
        return {
            token if spelled[token] != token and spelled[token] in stored_ids else spelled[token]: i
            for token, i in stored_ids.items()
        }

    def encode(self, text: str) -> list[int]:
        return self.inner.encode(text).ids

    def decode(self, ids: Iterable[int]) -> str:
        return self.inner.decode(list(ids))


@public_method()
def load_tokenizer(path: Path) -> Tokenizer:
    """A llama2.c `.bin`, a SentencePiece `.model`, a `.vocab` table, a `tokenizer.json`, or a folder with one.

    `path` is the file or the folder.
    """
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if f.name.startswith("tok") and f.suffix in READERS)
        path = next((f for f in files if f.name == "tokenizer.json"), files[0] if files else path)
    if path.suffix not in READERS:
        raise UsageError(f"'{path.name}' is no tokenizer file.", hint=f"Accepted: {', '.join(READERS)}.")
    try:
        return READERS[path.suffix](path)
    except (struct.error, ValueError, IndexError, KeyError, OSError) as error:
        raise DigsiteError(f"'{path}' could not be read as a tokenizer ({error}).") from None


def _make_table_reader(read: Callable[[bytes], Iterator[tuple[str, float]]]) -> Callable[[Path], Tokenizer]:
    """A reader of a file that is a table of pieces and scores, with a bound on its size."""

    def load(path: Path) -> Tokenizer:
        data = stored.read_bytes(path, limit=MOST_BYTES, follow=True)
        if not isinstance(data, bytes):
            raise ValueError(data.reason if data is not None else "there is no such file")
        pieces, scores = zip(*read(data))
        return PieceTokenizer(pieces, scores)

    return load


def _read_json(path: Path) -> Tokenizer:
    """Hugging Face's package reads its own format: normalizers and pre-tokenizers are programs of their own."""
    tokenizers = errors.require_package("tokenizers", extra="hub")
    try:
        return FastTokenizer(tokenizers.Tokenizer.from_file(str(path)))
    except Exception as error:  # the package raises bare Exceptions
        raise ValueError(str(error)) from None


def _read_bin(data: bytes) -> Iterator[tuple[str, float]]:
    """The longest piece's length, then score, length and bytes of each piece."""
    position = 4
    while position < len(data):
        score, length = struct.unpack_from("<fi", data, position)
        position += 8
        if not 0 < length <= len(data) - position:
            raise ValueError(f"a piece of {length} bytes at byte {position}")
        yield data[position : position + length].decode(errors="replace"), score
        position += length


def _read_vocab(data: bytes) -> Iterator[tuple[str, float]]:
    """One piece and its score a line, with a tab between."""
    for line in data.decode().removesuffix("\n").split("\n"):
        piece, score = line.rsplit("\t", 1)
        yield piece.replace(SPACE, " "), float(score)


def _read_model(data: bytes) -> Iterator[tuple[str, float]]:
    """The repeated field 1 of SentencePiece's protobuf message; read by hand to need neither package."""
    for field, message in _parse_fields(data):
        if field == 1 and isinstance(message, bytes):
            parts = dict(_parse_fields(message))
            piece, score = parts[1], parts.get(2, b"\0\0\0\0")
            if not isinstance(piece, bytes) or not isinstance(score, bytes):
                raise ValueError("a piece without text or score")
            yield piece.decode().replace(SPACE, " "), struct.unpack("<f", score)[0]


def _parse_fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Field numbers and contents of one protobuf message."""
    position = 0
    while position < len(data):
        key, position = _parse_varint(data, position)
        wire = key & 7
        if wire == 0:
            value, position = _parse_varint(data, position)
            yield key >> 3, value
            continue
        if wire not in (1, 2, 5):
            raise ValueError(f"wire type {wire} at byte {position}")
        size, position = _parse_varint(data, position) if wire == 2 else ({1: 8, 5: 4}[wire], position)
        if size > len(data) - position:
            raise ValueError(f"a field of {size} bytes at byte {position}")
        yield key >> 3, data[position : position + size]
        position += size


def _parse_varint(data: Sequence[int], position: int) -> tuple[int, int]:
    """Seven bits a byte, the lowest first, until one without its top bit."""
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
        if shift > 63:
            raise ValueError(f"a number without an end at byte {position}")


READERS: dict[str, Callable[[Path], Tokenizer]] = {
    ".bin": _make_table_reader(_read_bin),
    ".json": _read_json,
    ".model": _make_table_reader(_read_model),
    ".vocab": _make_table_reader(_read_vocab),
}
