import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digsite.base.errors import DigsiteError, UsageError
from digsite.data.tokenizers import CharTokenizer, PieceTokenizer, WordTokenizer, load_tokenizer

BYTES = tuple(f"<0x{i:02X}>" for i in range(256))
MERGES = (
    (" ", -1e9),
    ("a", -1e9),
    ("b", -1e9),
    ("c", -1e9),
    ("ab", -1.0),
    ("abc", -3.0),
    (" a", -2.0),
    ("bc", -0.5),
)
PIECES = PieceTokenizer(
    ("<unk>", "<s>", "</s>", *BYTES, *(p for p, _ in MERGES)), (0.0,) * 259 + tuple(s for _, s in MERGES)
)


def pieces(text: str) -> list[str]:
    return [PIECES.pieces[i] for i in PIECES.encode(text)[1:]]


def test_the_best_score_is_merged_first():
    assert pieces("abc") == [" a", "bc"]
    assert pieces("ab") == [" ", "ab"]
    assert pieces("é") == [" ", "<0xC3>", "<0xA9>"]
    assert PIECES.encode("") == [PIECES.bos]


@given(st.text(alphabet="abcé \n", max_size=30))
def test_every_text_survives(text):
    assert PIECES.decode(PIECES.encode(text)) == text


@given(st.text(alphabet="abc ", max_size=30))
def test_working_on_words_one_by_one_changes_nothing(text):
    whole = PieceTokenizer(
        (*PIECES.pieces, "x y"), (*PIECES.scores, -1.0)
    )  # a piece that spans words: no shortcut
    assert whole.encode(text) == PIECES.encode(text)


def test_words_and_characters():
    words = WordTokenizer(("cat", "sat"))
    assert words.encode("cat sat dog") == [1, 3, 4, 2] and words.decode([1, 3, 4, 2]) == "cat sat <unk>"
    characters = CharTokenizer.of("banana")
    assert characters.alphabet == "abn" and characters.decode(characters.encode("nab!")) == "nab"


@pytest.mark.parametrize("suffix", [".bin", ".vocab", ".model"])
def test_the_three_files_say_the_same(tmp_path: Path, suffix):
    table = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), (" ", -1.5), ("é", -2.0)]
    path = tmp_path / f"t{suffix}"
    if suffix == ".bin":
        parts = [struct.pack("<fi", s, len(p.encode())) + p.encode() for p, s in table]
        path.write_bytes(struct.pack("<i", 6) + b"".join(parts))
    elif suffix == ".vocab":
        path.write_text("".join(f"{p.replace(' ', '▁')}\t{s}\n" for p, s in table))
    else:
        parts = []
        for p, s in table:
            piece = p.replace(" ", "▁").encode()
            inner = b"\x0a" + bytes([len(piece)]) + piece + b"\x15" + struct.pack("<f", s) + b"\x18\x01"
            parts.append(b"\x0a" + bytes([len(inner)]) + inner)
        path.write_bytes(b"".join(parts) + b"\x12\x02\x18\x01")
    read = load_tokenizer(path)
    assert read.pieces == tuple(p for p, _ in table) and read.scores == tuple(s for _, s in table)


def test_real_tokenizers_agree_and_invert(data_dir):
    folder = data_dir / "lm/tinystories_char_0.9M"
    vocab, model = load_tokenizer(folder / "tok105.vocab"), load_tokenizer(folder / "tok105.model")
    assert vocab.pieces == model.pieces and vocab.size == 105
    large = load_tokenizer(data_dir / "lm/stories260K/tok512.bin")
    text = json.loads((data_dir / "text/tinystories_train_first1000.json").read_text())[0]
    assert large.size == 512 and large.decode(large.encode(text)) == text
    assert vocab.encode("a\nb")[:2] == [1, 3] and vocab.encode("a\nb")[3] == 0


def test_damaged_and_foreign_files_are_named(tmp_path):
    (tmp_path / "t.bin").write_bytes(b"\0\0\0\0\1")
    with pytest.raises(DigsiteError, match=r"t\.bin' could not be read as a tokenizer"):
        load_tokenizer(tmp_path / "t.bin")
    with pytest.raises(UsageError, match=r"'t\.txt' is no tokenizer file"):
        load_tokenizer(tmp_path / "t.txt")


def test_a_tokenizer_json_and_a_folder(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.save(str(tmp_path / "tokenizer.json"))
    read = load_tokenizer(tmp_path)
    assert read.size == 3 and read.encode("b a c") == [1, 0, 2] and read.decode([0, 1]) == "a b"
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DigsiteError, match="could not be read as a tokenizer"):
        load_tokenizer(tmp_path)


def test_a_folder_of_a_model_names_its_tokenizer(data_dir):
    assert load_tokenizer(data_dir / "lm/stories260K").size == 512
    assert load_tokenizer(data_dir / "lm/tinystories_char_0.9M").size == 105
    with pytest.raises(UsageError, match="'gpt_nano_sort' is no tokenizer file"):
        load_tokenizer(data_dir / "lm/gpt_nano_sort")


def test_vocabularies_of_several_kinds_are_spelled_alike(tmp_path):
    """A word after a space is one token, however a file marks the space; two tokens never become one."""
    tokenizers = pytest.importorskip("tokenizers")
    for number, spelled in enumerate(("▁cat", "Ġcat")):
        made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<unk>": 0, spelled: 1}, unk_token="<unk>"))
        path = tmp_path / str(number)
        path.mkdir()
        made.save(str(path / "tokenizer.json"))
        assert load_tokenizer(path).vocabulary == {"<unk>": 0, " cat": 1}
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"<unk>": 0, "Ġa": 1, " a": 2}, unk_token="<unk>")
    )
    made.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path).vocabulary == {"<unk>": 0, "Ġa": 1, " a": 2}
    assert WordTokenizer(("cat",)).vocabulary == {"<pad>": 0, "<s>": 1, "<unk>": 2, "cat": 3}
    assert CharTokenizer("ab").vocabulary == {"a": 0, "b": 1}
    assert PIECES.vocabulary[" a"] == PIECES.pieces.index(" a") and len(PIECES.vocabulary) == PIECES.size
