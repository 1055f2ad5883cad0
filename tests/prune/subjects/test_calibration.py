import json

import pytest
import torch

from digsite.base.errors import UsageError
from digsite.data.tokenizers import CharTokenizer, PieceTokenizer
from digsite.prune.subjects.calibration import windows
from digsite.prune.subjects.language import Language

MODEL = torch.nn.Identity()
DOCUMENTS = [chr(ord("a") + i) * 30 for i in range(10)]


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "documents.json"
    path.write_text(json.dumps(DOCUMENTS))
    return str(path)


@pytest.fixture
def reader():
    return Language(MODEL, CharTokenizer.of("abcdefghij"), 16)


def test_both_splits_share_no_document(reader, corpus):
    train, test = (windows(reader, corpus, 5, 8, 0, split).tokens for split in ("train", "test"))
    assert train.shape == test.shape == (5, 8)
    assert not set(train.flatten().tolist()) & set(test.flatten().tolist())
    assert len(set(train[:, 0].tolist())) == 5, "beginnings of different documents come first"
    assert not torch.equal(windows(reader, corpus, 5, 8, 1, "train").tokens, train)


def test_bytes_are_those_behind_the_predicted_tokens(reader, corpus):
    assert windows(reader, corpus, 5, 8, 0).n_bytes == 5 * 7


def test_an_unknown_character_is_one_byte(tmp_path):
    """And not the five letters of its name."""
    (tmp_path / "lines.txt").write_text("ab\nab\nab\nab\n" * 8)
    pieces = ("<unk>", "<s>", "</s>", " ", "a", "b")
    reader = Language(MODEL, PieceTokenizer(pieces, (0.0,) * len(pieces)), 16)
    found = windows(reader, str(tmp_path / "lines.txt"), 1, 14, 0)
    assert (found.tokens == 0).sum() == 4 and found.n_bytes == 12, "beginning and leading space have no byte"


def test_later_windows_are_used_when_beginnings_run_out(reader, corpus):
    assert len(windows(reader, corpus, 12, 8, 0).tokens) == 12
    with pytest.raises(UsageError, match="has 15 windows of 8 tokens, and 40 were asked for"):
        windows(reader, corpus, 40, 8, 0)


def test_one_long_text_is_halved(reader, tmp_path):
    (tmp_path / "long.txt").write_text("abcde" * 40)
    assert windows(reader, str(tmp_path / "long.txt"), 3, 16, 0, "test").tokens.shape == (3, 16)


def test_too_short_text_and_too_long_windows_are_named(reader, tmp_path):
    (tmp_path / "short.txt").write_text("abcabc")
    with pytest.raises(UsageError, match="shorter than one window of 16 tokens"):
        windows(reader, str(tmp_path / "short.txt"), 1, 0, 0)
    with pytest.raises(UsageError, match="window of 17 tokens is longer than the model's context of 16"):
        windows(reader, "", 1, 17, 0)


def test_a_story_model_reads_only_stories():
    stories = Language(MODEL, None, 32)
    assert windows(stories, "", 4, 0, 0).tokens.shape == (4, 32)
    with pytest.raises(UsageError, match="knows only the generated stories"):
        windows(stories, "tinyshakespeare", 4, 0, 0)
