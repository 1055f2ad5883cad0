"""Folders of every family open as what they are; what is incomplete, foreign or damaged is one sentence."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from gguf_files import write_llama
from model_families import CLASSES, FAMILIES, batch_of, make_module
from safetensors.torch import load_file, save_file

from digsite.base.errors import DigsiteError, NotFound, UsageError
from digsite.models.opening import answer_for_a_while, open_model
from digsite.prune.core.walk import run_batch

KINDS = {"vit": "images", "bert": "encoder", "t5": "encoder-decoder", "whisper": "sound"}


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_opens_as_the_network_that_was_saved(family_folders, transformers, family, capfd):
    opened = open_model(str(family_folders[family]))
    assert type(opened.module).__name__ == CLASSES[family] and opened.kind == KINDS.get(family, "causal")
    assert opened.notes == () and (opened.tokenizer is None) == (family in ("vit", "whisper"))
    batch = batch_of(family)
    with torch.no_grad():
        ours, theirs = (run_batch(m, batch)[0] for m in (opened.module, make_module(family, transformers)))
    torch.testing.assert_close(ours, theirs)
    said = capfd.readouterr()
    assert not said.out and not said.err, "nothing of the library leaks"


def test_a_module_answers_its_main_input_for_as_long_as_it_is_asked(family_folders):
    opened = open_model(str(family_folders["bert"]))
    ids = torch.randint(4, 300, (2, 6))
    with answer_for_a_while(opened) as module:
        assert module(ids).shape == (2, 6, 32), "hidden states, not an object"
        assert module(input_ids=ids).last_hidden_state.shape == (2, 6, 32)
    assert "forward" not in vars(opened.module)


@pytest.fixture
def copy(family_folders, tmp_path):
    """A folder of a family to be damaged."""

    def make(family: str) -> Path:
        return Path(shutil.copytree(family_folders[family], tmp_path / family))

    return make


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"model_type": "llama"}, "which is another architecture"),
        ({"model_type": "llama", "architectures": None}, "its files hold"),
        ({"n_layer": 10**7}, "has 10000000 layers"),
        ({"n_layer": -1}, "has -1 layers"),
    ],
)
def test_a_config_that_the_files_cannot_fill_is_refused_before_anything_is_allocated(copy, changed, sentence):
    """A Llama without sizes has those of its library: over a GPT-2 of 150 kB, its 7 billion numbers were made up."""
    folder = copy("gpt2")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changed))
    with pytest.raises(UsageError, match=sentence):
        open_model(str(folder))


@pytest.mark.parametrize("family", ["gpt2", "bert", "t5", "vit", "mixtral", "mamba"])
def test_an_incomplete_checkpoint_is_refused(copy, family):
    folder = copy(family)
    tensors = load_file(folder / "model.safetensors")
    gone = sorted(name for name in tensors if tensors[name].ndim == 2)[3]
    del tensors[gone]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(DigsiteError, match="incomplete|failed"):
        open_model(str(folder))


def test_a_tensor_of_another_shape_is_refused(copy):
    folder = copy("bert")
    tensors = load_file(folder / "model.safetensors")
    tensors["pooler.dense.weight"] = torch.ones(3, 3)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(DigsiteError) as error:
        open_model(str(folder))
    assert "\n" not in error.value.message


CODE = "open('{marker}', 'w').write('ran')\n"


def test_code_in_a_folder_is_never_run_and_never_asked_about(copy, tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    marker, folder = tmp_path / "marker", copy("bert")
    (folder / "modeling_own.py").write_text(CODE.format(marker=marker))
    config = json.loads((folder / "config.json").read_text())
    auto = {"AutoConfig": "modeling_own.C", "AutoModel": "modeling_own.M"}
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": auto}))
    assert type(open_model(str(folder)).module).__name__ == "BertModel", "the library's own class is enough"
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": auto, "model_type": "own"}))
    opened = open_model(str(folder))
    assert opened.module is None and "own code (modeling_own.py), which is never run" in opened.why_not
    assert not marker.exists()


def test_an_unknown_architecture_and_a_quantized_one_are_named(copy):
    folder = copy("llama")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "lama", "architectures": None}))
    opened = open_model(str(folder))
    assert opened.kind == "weights" and opened.bundle is not None and len(opened.bundle.tensors) > 4
    with pytest.raises(UsageError, match=r"'lama' of .* .did you mean 'llama'"):
        opened.need_module("be run")
    (folder / "config.json").write_text(
        json.dumps({**config, "quantization_config": {"quant_method": "fp8"}})
    )
    with pytest.raises(UsageError, match=r"is quantized \((fp8|Fp8|FineGrainedFP8Config|.*)\)"):
        open_model(str(folder))


def test_an_index_is_held_to_its_folder_and_to_its_word(copy):
    folder = copy("bert")
    names = list(load_file(folder / "model.safetensors"))
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(names, "../elsewhere.safetensors")}))
    with pytest.raises(DigsiteError, match="points outside of its folder"):
        open_model(str(folder))
    index.write_text(
        json.dumps({"weight_map": {**dict.fromkeys(names, "model.safetensors"), "x": "lost.safetensors"}})
    )
    with pytest.raises(NotFound, match="lacks 1 of its 2 weight files"):
        open_model(str(folder))
    index.write_text(json.dumps({"weight_map": dict.fromkeys([*names, "more.weight"], "model.safetensors")}))
    with pytest.raises(DigsiteError, match="in none of its files, first 'more.weight'"):
        open_model(str(folder))
    index.write_text("[1, 2]")
    with pytest.raises(DigsiteError, match="is a list, where a JSON object was expected"):
        open_model(str(folder))


def test_a_pickle_that_would_run_code_is_refused(copy, tmp_path):
    class Evil:
        def __reduce__(self):
            return (eval, (f"open({str(tmp_path / 'marker')!r}, 'w')",))

    folder = copy("bert")
    (folder / "model.safetensors").unlink()
    torch.save({"a": Evil()}, folder / "pytorch_model.bin")
    with pytest.raises(DigsiteError, match="was not read"):
        open_model(str(folder))
    assert not (tmp_path / "marker").exists()


def test_weights_that_no_module_knows_say_why(tmp_path):
    save_file({"a.weight": torch.ones(4, 4)}, tmp_path / "x.safetensors")
    opened = open_model(str(tmp_path / "x.safetensors"))
    assert opened.kind == "weights" and "do not say how they are used" in opened.why_not
    with pytest.raises(UsageError, match="cannot be run"):
        opened.need_module("be run")


def test_a_name_of_the_hub_is_told_from_a_path():
    with pytest.raises(NotFound, match="hub:gpt2/small"):
        open_model("gpt2/small")


def test_a_factory_that_fails_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "broken_factory.py").write_text("def make():\n    raise RuntimeError('no GPU\\nhere')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match="failed: RuntimeError, no GPU here."):
        open_model("py:broken_factory:make")


def test_a_gguf_brings_its_tokenizer_and_comes_back_as_a_folder_of_its_library(
    tmp_path, transformers, monkeypatch, cli
):
    """Once "this model has no tokenizer", and a pruned one that only digsite could open."""
    file = write_llama(tmp_path / "tiny.gguf", ["h e", "l l", "he ll"])
    opened = open_model(str(file))
    assert opened.kind == "causal" and opened.notes == ()
    assert len(opened.tokenizer.encode("hello")) == 2 and opened.tokenizer.decode([258]) == "hell"
    (tmp_path / "text.txt").write_text("hello world, hello sky. " * 200)
    monkeypatch.chdir(tmp_path)
    how = ("--method", "wanda", "--sequences", "8", "--length", "32")
    code, _, err = cli("prune", "tiny.gguf", *how, "--calibration", "text.txt", "--out", "pruned")
    assert code == 0, err
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "pruned")
    pieces = transformers.AutoTokenizer.from_pretrained(tmp_path / "pruned")
    ids = torch.tensor([pieces.encode("hello world")])
    assert ids.tolist() == [opened.tokenizer.encode("hello world")]
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids).logits, open_model("pruned").module(ids).logits)
    weights = [weight for name, weight in theirs.named_parameters() if name.endswith("_proj.weight")]
    assert all(0.45 < float((weight == 0).float().mean()) < 0.55 for weight in weights)


def test_a_model_larger_than_the_memory_is_refused_before_it_is_read(family_folders, monkeypatch):
    monkeypatch.setattr("digsite.models.opening.opened._physical_memory", lambda: 1000)
    with pytest.raises(
        UsageError, match=r"takes 0\.\d GB as float32, and this machine has 0\.0 GB of memory"
    ) as error:
        open_model(str(family_folders["llama"]))
    assert "--stream" in error.value.hint
