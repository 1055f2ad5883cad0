import json

import pytest
import torch

from digsite.base.errors import DigsiteError, UsageError
from digsite.data.tokenizers import CharTokenizer, PieceTokenizer
from digsite.prune.config import CalibrationText, OneMask, StoryModel
from digsite.prune.judge.perplexity import logits_of, measure_perplexity
from digsite.prune.subjects import language as subjects
from digsite.prune.subjects.language import Language, draw_windows, load_language, locate_model
from digsite.weights import write_weights


def test_a_model_of_ours_comes_back(llama, tokens, tmp_path):
    model = llama()
    write_weights(
        tmp_path / "model.safetensors", model, {"digsite.model": model.config.model_dump(mode="json")}
    )
    found = load_language(str(tmp_path / "model.safetensors"))
    assert found.context == 24 and found.tokenizer is None
    assert torch.equal(found.model(tokens()), model(tokens()))


def test_weights_without_a_config_are_refused(tmp_path):
    write_weights(tmp_path / "x.safetensors", {"a": torch.ones(2, 2)})
    with pytest.raises(UsageError, match="do not say how they are used"):
        load_language(str(tmp_path / "x.safetensors"))
    write_weights(
        tmp_path / "y.safetensors",
        {"tok_embeddings.weight": torch.ones(4, 2), "layers.0.feed_forward.w3.weight": torch.ones(3, 2)},
    )
    with pytest.raises(DigsiteError, match="does not say its 'n_heads'"):
        load_language(str(tmp_path / "y.safetensors"))


def test_hugging_face_folders_load_with_their_tokenizer(folders):
    found = load_language(str(folders / "llama"))
    assert found.context == 32 and found.tokenizer.encode("a dog")[0] == 1
    assert logits_of(found.model, torch.tensor([[1, 2]])).shape == (1, 2, 300)


def test_published_models_read_stories_as_published(data_dir, monkeypatch):
    """1.422 nats per token on the first sixty stories, as the data's description has it; twelve of them here."""
    from digsite.data import text

    monkeypatch.setenv("DIGSITE_DATA", str(data_dir))
    assert locate_model("stories260K").endswith("lm/stories260K/model.safetensors")
    found = load_language(str(data_dir / "lm" / "stories260K"))
    total = tokens = 0
    for story in text.read_documents("tinystories")[:12]:
        ids = torch.tensor([found.tokenizer.encode(story)[: found.context]])
        measured = measure_perplexity(found.model, ids)
        total, tokens = total + measured.losses.sum(), tokens + measured.n_tokens
    assert 1.3 < total / tokens < 1.5


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
    train, test = (draw_windows(reader, corpus, 5, 8, 0, split).tokens for split in ("train", "test"))
    assert train.shape == test.shape == (5, 8)
    assert not set(train.flatten().tolist()) & set(test.flatten().tolist())
    assert len(set(train[:, 0].tolist())) == 5, "beginnings of different documents come first"
    assert not torch.equal(draw_windows(reader, corpus, 5, 8, 1, "train").tokens, train)


def test_bytes_are_those_behind_the_predicted_tokens(reader, corpus):
    assert draw_windows(reader, corpus, 5, 8, 0).n_bytes == 5 * 7


def test_an_unknown_character_is_one_byte(tmp_path):
    """And not the five letters of its name."""
    (tmp_path / "lines.txt").write_text("ab\nab\nab\nab\n" * 8)
    pieces = ("<unk>", "<s>", "</s>", " ", "a", "b")
    reader = Language(MODEL, PieceTokenizer(pieces, (0.0,) * len(pieces)), 16)
    found = draw_windows(reader, str(tmp_path / "lines.txt"), 1, 14, 0)
    assert (found.tokens == 0).sum() == 4 and found.n_bytes == 12, "beginning and leading space have no byte"


def test_later_windows_are_used_when_beginnings_run_out(reader, corpus):
    assert len(draw_windows(reader, corpus, 12, 8, 0).tokens) == 12
    with pytest.raises(UsageError, match="has 15 windows of 8 tokens, and 40 were asked for"):
        draw_windows(reader, corpus, 40, 8, 0)


def test_one_long_text_is_halved(reader, tmp_path):
    (tmp_path / "long.txt").write_text("abcde" * 40)
    assert draw_windows(reader, str(tmp_path / "long.txt"), 3, 16, 0, "test").tokens.shape == (3, 16)


def test_too_short_text_and_too_long_windows_are_named(reader, tmp_path):
    (tmp_path / "short.txt").write_text("abcabc")
    with pytest.raises(UsageError, match="shorter than one window of 16 tokens"):
        draw_windows(reader, str(tmp_path / "short.txt"), 1, 0, 0)
    with pytest.raises(UsageError, match="window of one token has no next token"):
        draw_windows(reader, str(tmp_path / "short.txt"), 1, 1, 0)
    with pytest.raises(UsageError, match="window of 17 tokens is longer than the model's context of 16"):
        draw_windows(reader, "", 1, 17, 0)


def test_a_story_model_reads_only_stories():
    stories = Language(MODEL, None, 32)
    assert draw_windows(stories, "", 4, 0, 0).tokens.shape == (4, 32)
    with pytest.raises(UsageError, match="knows only the generated stories"):
        draw_windows(stories, "tinyshakespeare", 4, 0, 0)


SMALL = StoryModel(d_model=16, d_mlp=24, n_layers=2, n_heads=2, n_kv_heads=1, context=16, steps=2, batch=2)
CONFIG = OneMask(story=SMALL, calibration=CalibrationText(sequences=4))


@pytest.fixture(scope="module")
def state():
    return subjects.train_story_model(SMALL, 0)


def test_training_is_repeatable_and_the_model_comes_back(state):
    assert all(
        torch.equal(a, b) for a, b in zip(state.values(), subjects.train_story_model(SMALL, 0).values())
    )
    language = subjects.language_of(CONFIG, state)
    assert language.context == 16 and torch.equal(
        language.model.state_dict()["model.norm.weight"], state["model.norm.weight"]
    )


def test_masks_carry_what_made_them(state):
    language = subjects.language_of(CONFIG, state)
    tokens = subjects.calibration_tokens(language, CONFIG)
    (one,) = subjects.mask_maps(language, subjects.recipe_of(CONFIG), tokens, [(1, "mlp.down_proj")])
    assert torch.equal(one.prune_again(one.weight), one.keep) and one.name == "model.layers.1.mlp.down_proj"
    again = subjects.from_state(subjects.as_state(one), one.recipe)
    assert torch.equal(again.prune_again(again.weight), one.keep)
    assert not torch.equal(subjects.calibration_tokens(language, CONFIG, 1), tokens)


def test_a_component_or_layer_that_is_not_there_is_answered(state):
    language = subjects.language_of(CONFIG, state)
    tokens = subjects.calibration_tokens(language, CONFIG)
    for pair, message in (
        ((1, "mlp.donw_proj"), "no component 'mlp.donw_proj'. Did you mean 'mlp.down_proj'"),
        ((7, "mlp.down_proj"), "no layer 7; the model has layers 0 to 1"),
    ):
        with pytest.raises(UsageError, match=message):
            subjects.mask_maps(language, subjects.recipe_of(CONFIG), tokens, [pair])


def test_a_trained_model_is_loaded_by_name(data_dir, monkeypatch):
    monkeypatch.setenv("DIGSITE_DATA", str(data_dir))
    language = subjects.language_of(OneMask(model="stories260K"), None)
    assert language.context == 512 and language.tokenizer is not None
