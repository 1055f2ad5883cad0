import pytest
import torch

from digsite.base.errors import DigsiteError, UsageError
from digsite.prune.judge.perplexity import evaluate, logits_of
from digsite.prune.subjects.language import load_language, located
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
    assert located("stories260K").endswith("lm/stories260K/model.safetensors")
    found = load_language(str(data_dir / "lm" / "stories260K"))
    total = tokens = 0
    for story in text.documents("tinystories")[:12]:
        ids = torch.tensor([found.tokenizer.encode(story)[: found.context]])
        measured = evaluate(found.model, ids)
        total, tokens = total + measured.losses.sum(), tokens + measured.n_tokens
    assert 1.3 < total / tokens < 1.5
