"""A large model's weights stay in their files, and its answers are those of the model in memory."""

import weakref

import pytest
import torch
from gguf_files import write_llama

from digsite.joint.judge.blocks import stability
from digsite.joint.subjects import model as subjects
from digsite.joint.subjects.model import Subject
from digsite.models.opening import open_model
from digsite.prune.subjects.shards import DecodedTensor

transformers = pytest.importorskip("transformers")
SMALL = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 32,
}
FAMILIES = {
    "tied Llama": ("Llama", {"num_key_value_heads": 1, "tie_word_embeddings": True}),
    "Qwen2": ("Qwen2", {"num_key_value_heads": 2}),
    "Gemma2": ("Gemma2", {"num_key_value_heads": 1, "head_dim": 8}),
    "Phi": ("Phi", {}),
}


def save_folder(folder, family, dtype=torch.bfloat16):
    name, more = FAMILIES[family]
    torch.manual_seed(0)
    made = getattr(transformers, f"{name}ForCausalLM")(
        getattr(transformers, f"{name}Config")(**SMALL, **more)
    )
    made.to(dtype).save_pretrained(folder)
    return str(folder)


def with_batch(reference):
    subject = Subject(reference)
    subject.__dict__["batch"] = torch.randint(0, 64, (3, 9), generator=torch.Generator().manual_seed(0))
    return subject


@pytest.mark.parametrize("family", FAMILIES)
def test_a_streamed_model_answers_and_changes_as_one_in_memory(tmp_path, monkeypatch, family):
    reference = save_folder(tmp_path, family)
    near = with_batch(reference)
    whole = near.answers
    monkeypatch.setattr(subjects, "LARGE", 100)
    far = with_batch(reference)
    torch.testing.assert_close(far.answers, whole, atol=1e-5, rtol=1e-4)
    assert far.streamed is not None and near.streamed is None
    assert all(p.is_meta for p in far.opened.module.parameters())
    assert list(far.shapes()) == list(near.shapes())
    change = stability.round_rows(4)
    moved = []
    for subject in (near, far):
        with stability.while_changed(subject, change):
            moved.append(subject.run())
        torch.testing.assert_close(subject.run(), subject.answers)
    torch.testing.assert_close(moved[1], moved[0], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(moved[0], whole, atol=1e-3)


def test_what_cannot_be_streamed_is_opened_in_memory(tmp_path, monkeypatch):
    """Experts lie in the file one by one and in the module together."""
    torch.manual_seed(0)
    config = transformers.MixtralConfig(**SMALL, num_key_value_heads=1, num_local_experts=2)
    transformers.MixtralForCausalLM(config).save_pretrained(tmp_path)
    monkeypatch.setattr(subjects, "LARGE", 100)
    subject = with_batch(str(tmp_path))
    expected = open_model(str(tmp_path)).module(subject.batch).logits
    assert subject.streamed is None
    torch.testing.assert_close(subject.answers, expected, atol=1e-5, rtol=1e-4)


def test_a_large_gguf_stays_in_its_file_and_no_two_parts_of_it_live_at_once(tmp_path, monkeypatch):
    """Once it was dequantized whole, and its matrices kept beside it while they were changed: four times its size."""
    reference = str(write_llama(tmp_path / "tiny.gguf", ["h e", "l l", "he ll"]))
    near = with_batch(reference)
    whole, moved = near.answers, {}
    monkeypatch.setattr(subjects, "LARGE", 100)
    far, alive, most = with_batch(reference), [], []

    def read(stored, original=DecodedTensor.read):
        values = original(stored)
        alive.append(weakref.ref(values))
        most.append(sum(kept.numel() for ref in alive if (kept := ref()) is not None))
        return values

    monkeypatch.setattr(DecodedTensor, "read", read)
    torch.testing.assert_close(far.answers, whole, atol=1e-5, rtol=1e-4)
    assert far.streamed is not None and near.streamed is None
    for subject in (near, far):
        with stability.while_changed(subject, stability.round_rows(4)):
            moved[subject is far] = subject.run()
    torch.testing.assert_close(moved[True], moved[False], atol=1e-5, rtol=1e-4)
    embedding, size = 259 * 16, far.size
    assert max(most) == embedding < size - embedding / 4  # the block is a third of the model
    assert far.opened.notes == near.opened.notes == () and far.opened.tokenizer is not None
