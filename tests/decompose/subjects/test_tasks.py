"""Language-model targets: the story language, published checkpoints, and models of Hugging Face."""

import pytest
import torch
from torch import nn

from digsite.base.errors import UsageError
from digsite.data import stories
from digsite.decompose.api import decompose
from digsite.decompose.config import LmConfig
from digsite.decompose.judge import answers
from digsite.decompose.subjects import tasks
from digsite.decompose.subjects.tasks import IGNORED
from digsite.models import build, parse, to_huggingface
from digsite.models.opening import Opened
from digsite.models.parts import Pattern

SMALL = {"kind": "llama", "d_model": 16, "d_mlp": 24, "n_layers": 1}


def config(**settings) -> LmConfig:
    base = {
        "modules": ["*.mlp.*"],
        "text": {"context": 24, "rows": 60},
        "target": SMALL,
        "training": {"steps": 30, "batch": 8, "warmup": 2},
    }
    return LmConfig.model_validate(base | settings)


def test_a_story_target_fits_its_language_and_learns():
    chosen = config()
    task = tasks.make_story_task(chosen, tasks.train_on_stories(chosen, 3))
    tokens = task.held_out(torch.Generator().manual_seed(0))
    assert task.model.config.vocab == stories.story_tokenizer().size
    assert task.floor and 0.2 < task.floor < 1
    assert task.words(int(tokens[0, 1])).strip() in stories.story_tokenizer().words
    untrained = build(tasks.fit_story_model(chosen), 3)
    labels = task.labels(tokens)

    @torch.no_grad()
    def ce(model):
        return float(torch.nn.functional.cross_entropy(model(tokens).flatten(0, 1), labels.flatten()))

    assert ce(task.model) < ce(untrained) - 0.5


def test_training_and_judging_do_not_share_stories():
    chosen = config(text={"context": 24, "rows": 200})
    train, test = (tasks.draw_windows(chosen.text, split) for split in ("train", "test"))
    seen = {tuple(row) for row in train.tolist()}
    assert not any(tuple(row) in seen for row in test.tolist())


def test_a_published_model_is_decomposed_on_its_own_text(data_dir, monkeypatch):
    monkeypatch.setenv("DIGSITE_DATA", str(data_dir))
    chosen = config(
        model=f"file:{data_dir / 'lm' / 'stories260K'}",
        text={"source": "tinystories", "context": 64, "documents": 20},
        decompose={"C": 4, "batch": 2},
    )
    task = tasks.load_task(chosen)
    tokens = task.held_out(torch.Generator().manual_seed(0))
    with torch.no_grad():
        ce = torch.nn.functional.cross_entropy(
            task.model(tokens).flatten(0, 1), task.labels(tokens).flatten()
        )
    assert 1.0 < float(ce) < 2.2  # 1.42 on whole stories
    found = decompose(task.model, ["model.embed_tokens"], data=task.sample, C=4, steps=2, compare="kl")
    (row,) = answers.score_tokens(found, task, [tokens], 0.1)
    assert row["ce/target"] == pytest.approx(float(ce), rel=1e-5)


def test_a_model_that_only_hugging_face_has(tmp_path):
    transformers = pytest.importorskip("transformers")
    settings = transformers.GPTNeoXConfig(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    torch.manual_seed(0)
    transformers.GPTNeoXForCausalLM(settings).save_pretrained(tmp_path)
    model, opened = tasks.load_target(f"file:{tmp_path}")
    assert opened.folder == tmp_path
    tokens = torch.randint(30, (4, 8), generator=torch.Generator().manual_seed(0))
    found = decompose(
        model, ["gpt_neox.layers.*.mlp.dense*"], data=tokens, C=5, steps=2, batch=4, compare="kl"
    )
    torch.testing.assert_close(found.scene(tokens).output, model(tokens))


def test_llama_folders_of_hugging_face_become_ours(tmp_path):
    made = build(parse({**SMALL, "vocab": 30, "context": 32}), 0)
    to_huggingface(tmp_path, made)
    model, _ = tasks.load_target(f"file:{tmp_path}")
    tokens = torch.arange(10)[None]
    torch.testing.assert_close(model(tokens), made(tokens))


def test_a_text_without_a_model_for_it_is_refused():
    with pytest.raises(ValueError, match="the one that is trained here reads stories"):
        config(text={"source": "hub:someone/something"})


def test_what_is_missing_is_said(tmp_path):
    made = build(parse({**SMALL, "vocab": 30, "context": 32}), 0)
    to_huggingface(tmp_path, made)
    with pytest.raises(UsageError, match="does not speak the story language"):
        tasks.load_task(config(model=f"file:{tmp_path}"))
    with pytest.raises(UsageError, match="comes without a tokenizer"):
        tasks.load_task(config(model=f"file:{tmp_path}", text={"source": "tinystories"}))


def test_a_tokenizer_that_a_model_brings_is_used_and_one_that_is_named_goes_before(tmp_path):
    own = object()
    assert tasks.find_tokenizer("", Opened("a.gguf", "causal", tokenizer=own)) is own
    with pytest.raises(UsageError, match="'a.gguf' comes without a tokenizer"):
        tasks.find_tokenizer("", Opened("a.gguf", "causal"))
    with pytest.raises(UsageError, match="no tokenizer file"):
        (tmp_path / "words.txt").write_text("a b")
        tasks.find_tokenizer(str(tmp_path / "words.txt"), Opened("a.gguf", "causal", tokenizer=own))


# Strings with a period, and attention that is known by construction.


@pytest.fixture
def tokens():
    return tasks.draw_strings(200, 16, 20, torch.Generator().manual_seed(0))


def test_strings_repeat_with_their_own_period(tokens):
    periods = tasks.find_periods(tokens)
    assert set(periods.tolist()) == {4, 5, 6, 7, 8}
    for row, p in zip(tokens.tolist(), periods.tolist()):
        assert len(set(row[:p])) == p
        assert all(row[i] == row[i - p] for i in range(p, 16))


def test_only_what_has_been_seen_is_asked(tokens):
    labels = tasks.label_repeats(tokens)
    for row, asked, p in zip(tokens, labels, tasks.find_periods(tokens).tolist()):
        assert (asked[:p] == IGNORED).all() and asked[-1] == IGNORED
        assert torch.equal(asked[p:-1], row[p + 1 :])


def test_attention_of_perfect_heads_is_one(tokens):
    n, length = tokens.shape
    place = torch.arange(length)
    previous = torch.zeros(n, 1, length, length)
    previous[:, 0, place[1:], place[:-1]] = 1
    copying = torch.zeros(n, 1, length, length)
    for row, p in enumerate(tasks.find_periods(tokens).tolist()):
        copying[row, 0, place[p:], place[p:] - p + 1] = 1
    found = tasks.measure_attention(tokens, [previous, copying])
    assert found == pytest.approx({"previous": 1.0, "induction": 1.0})
    assert tasks.measure_attention(tokens, [previous])["induction"] == 0


def test_evenly_spread_attention_is_the_null():
    tokens = torch.tensor([[7, 8, 7, 8]])
    # Asked at place 2 alone: three keys, one of them just before, one after the earlier 7.
    assert tasks.spread_attention(tokens) == pytest.approx({"previous": 1 / 3, "induction": 1 / 3})


def test_patterns_are_watched_and_left_alone():
    model = nn.Sequential()
    model.pattern = Pattern()
    with tasks.watch_attention(model) as seen:
        model.pattern(torch.ones(2))
    model.pattern(torch.ones(3))
    assert [len(x) for x in seen] == [2] and not model.pattern.is_watched()


def test_a_token_is_spelled_as_it_stands_in_a_text():
    class Spaced:
        """Every piece begins with a space, and a text does not: as SentencePiece has it."""

        pieces = ("", "the", "cat", " ")

        def decode(self, ids):
            return "".join(f" {self.pieces[i]}" if i else "" for i in ids).removeprefix(" ")

    assert [tasks.spell_token(Spaced(), i) for i in range(4)] == ["0", " the", " cat", "  "]
