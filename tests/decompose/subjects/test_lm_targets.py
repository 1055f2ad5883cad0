"""Language-model targets: the story language, published checkpoints, and models of Hugging Face."""

import pytest
import torch

from digsite.base.errors import UsageError
from digsite.data import stories
from digsite.decompose.api import decompose
from digsite.decompose.config import LmConfig
from digsite.decompose.judge import token_scores
from digsite.decompose.subjects import lm_targets
from digsite.models import build, parse, to_huggingface

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
    task = lm_targets.story_task(chosen, lm_targets.train_on_stories(chosen, 3))
    tokens = task.held_out(torch.Generator().manual_seed(0))
    assert task.model.config.vocab == stories.tokenizer().size
    assert task.floor and 0.2 < task.floor < 1
    assert task.words(int(tokens[0, 1])) in stories.tokenizer().words
    untrained = build(lm_targets.story_model(chosen), 3)
    labels = task.labels(tokens)

    @torch.no_grad()
    def ce(model):
        return float(torch.nn.functional.cross_entropy(model(tokens).flatten(0, 1), labels.flatten()))

    assert ce(task.model) < ce(untrained) - 0.5


def test_training_and_judging_do_not_share_stories():
    chosen = config(text={"context": 24, "rows": 200})
    train, test = (lm_targets._windows(chosen.text, split) for split in ("train", "test"))
    seen = {tuple(row) for row in train.tolist()}
    assert not any(tuple(row) in seen for row in test.tolist())


def test_a_published_model_is_decomposed_on_its_own_text(data_dir, monkeypatch):
    monkeypatch.setenv("DIGSITE_DATA", str(data_dir))
    chosen = config(
        model=f"file:{data_dir / 'lm' / 'stories260K'}",
        text={"source": "tinystories", "context": 64, "documents": 20},
        decompose={"C": 4, "batch": 2},
    )
    task = lm_targets.loaded_task(chosen)
    tokens = task.held_out(torch.Generator().manual_seed(0))
    with torch.no_grad():
        ce = torch.nn.functional.cross_entropy(
            task.model(tokens).flatten(0, 1), task.labels(tokens).flatten()
        )
    assert 1.0 < float(ce) < 2.2  # 1.42 on whole stories
    found = decompose(task.model, ["model.embed_tokens"], data=task.sample, C=4, steps=2, compare="kl")
    (row,) = token_scores.score(found, task, [tokens], 0.1)
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
    model, folder = lm_targets._load(f"file:{tmp_path}")
    assert folder == tmp_path
    tokens = torch.randint(30, (4, 8), generator=torch.Generator().manual_seed(0))
    found = decompose(
        model, ["gpt_neox.layers.*.mlp.dense*"], data=tokens, C=5, steps=2, batch=4, compare="kl"
    )
    torch.testing.assert_close(found.scene(tokens).output, model(tokens))


def test_llama_folders_of_hugging_face_become_ours(tmp_path):
    made = build(parse({**SMALL, "vocab": 30, "context": 32}), 0)
    to_huggingface(tmp_path, made)
    model, _ = lm_targets._load(f"file:{tmp_path}")
    tokens = torch.arange(10)[None]
    torch.testing.assert_close(model(tokens), made(tokens))


def test_a_text_without_a_model_for_it_is_refused():
    with pytest.raises(ValueError, match="the one that is trained here reads stories"):
        config(text={"source": "hub:someone/something"})


def test_what_is_missing_is_said(tmp_path):
    made = build(parse({**SMALL, "vocab": 30, "context": 32}), 0)
    to_huggingface(tmp_path, made)
    with pytest.raises(UsageError, match="does not speak the story language"):
        lm_targets.loaded_task(config(model=f"file:{tmp_path}"))
    with pytest.raises(UsageError, match="no tokenizer|tokenizer file"):
        lm_targets.loaded_task(config(model=f"file:{tmp_path}", text={"source": "tinystories"}))
