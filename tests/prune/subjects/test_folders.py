"""What we save loads in its library and runs, with types and side files as they came."""

import json

import pytest
import torch
from model_families import CLASSES, FAMILIES, N_MAPS, batch_of, write_family
from safetensors.torch import load_file, save_file

from digsite.base.errors import UsageError
from digsite.prune.api import PruneJob, prune_folder
from digsite.prune.core import layers
from digsite.prune.core.model import Recipe
from digsite.prune.core.patterns import SparsityPattern
from digsite.prune.core.walk import run_batch


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A text, and features of sounds."""
    import numpy as np

    folder = tmp_path_factory.mktemp("data")
    (folder / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 80)
    np.save(folder / "mel.npy", np.random.default_rng(0).normal(size=(8, 20, 48)).astype("float32"))
    return {"vit": "digits", "whisper": str(folder / "mel.npy"), "": str(folder / "text.txt")}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pruned_folder_loads_in_its_library_and_runs(family_folders, transformers, data, tmp_path, family):
    job = PruneJob(
        str(family_folders[family]),
        tmp_path / "out",
        Recipe("wanda", SparsityPattern(0.5, 2, 4)),
        data.get(family, data[""]),
        4,
        0 if family in ("vit", "whisper") else 16,
    )
    said: list[str] = []
    done = prune_folder(job, say=said.append)
    loaded, info = getattr(transformers, CLASSES[family]).from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"]
    maps = layers.all_maps(loaded)
    assert len(maps) == len(done.ledger) == N_MAPS[family]
    for one, line in zip(maps, done.ledger, strict=True):
        assert one.name == line.name and torch.equal(one.weight != 0, line.keep & (one.weight != 0))
        assert float((one.weight == 0).float().mean()) == pytest.approx(0.5), one.name
    with torch.no_grad():
        assert run_batch(loaded, batch_of(family))[0].isfinite().all()
    assert "linear maps hold" in said[0] and "left as they are" in said[0]
    judged = done.drift if family in ("vit", "bert", "t5", "whisper") else done.after
    assert judged is not None, "scored by its own output, or by its own language-model head"
    for name in ("config.json", "tokenizer.json", "generation_config.json"):
        source = family_folders[family] / name
        assert not source.is_file() or source.read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_types_and_side_files_come_back_as_they_went_in(transformers, data, tmp_path):
    folder = write_family(tmp_path / "in", "qwen2", transformers, torch.bfloat16)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"].float()  # one tensor of another type
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "LICENSE").write_text("free")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text("{}")
    (folder / "modeling_x.py").write_text("raise SystemExit")
    for stream in (False, True):
        out = tmp_path / f"out-{stream}"
        prune_folder(PruneJob(str(folder), out, Recipe(), data[""], 4, 16, stream=stream))
        parts = [load_file(path) for path in out.glob("model*.safetensors")]
        found = {name: tensor for part in parts for name, tensor in part.items()}
        assert {n: t.dtype for n, t in found.items()} == {n: t.dtype for n, t in tensors.items()}
        for name in ("chat_template.jinja", "LICENSE", "1_Pooling/config.json", "config.json"):
            assert (out / name).read_bytes() == (folder / name).read_bytes(), name
        assert not (out / "modeling_x.py").exists() and not (out / ".unfinished").exists()
        changed = [n for n, t in found.items() if not torch.equal(t, tensors[n])]
        assert len(changed) == 14 and all("_proj" in name for name in changed), "nothing else moved by a bit"


def test_a_folder_without_a_tokenizer_is_refused_and_magnitude_needs_none(
    family_folders, tmp_path, transformers
):
    folder = write_family(tmp_path / "in", "llama", transformers)
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(UsageError, match="no tokenizer, so no text"):
        prune_folder(PruneJob(str(folder), tmp_path / "a", Recipe()))
    assert prune_folder(PruneJob(str(folder), tmp_path / "b", Recipe("magnitude"))).before is None
    ids = tmp_path / "ids.npy"
    import numpy as np

    np.save(ids, np.random.default_rng(0).integers(4, 300, (6, 12)))
    done = prune_folder(PruneJob(str(folder), tmp_path / "c", Recipe(), str(ids)))
    assert done.ledger and done.drift is not None


def test_a_pattern_that_does_not_fit_is_said_before_anything_is_run(family_folders, data, tmp_path):
    job = PruneJob(
        str(family_folders["opt"]),
        tmp_path / "out",
        Recipe("wanda", SparsityPattern(3 / 7, 3, 7)),
        data[""],
        4,
        16,
    )
    with pytest.raises(UsageError, match="3:7 does not divide the inputs of 12 of 12 maps"):
        prune_folder(job)
    assert not (tmp_path / "out").exists()


def test_weights_without_a_network_can_lose_their_smallest(tmp_path):
    save_file(
        {"fc.weight": torch.randn(8, 6), "wte.weight": torch.randn(9, 4), "fc.bias": torch.ones(8)},
        tmp_path / "x.safetensors",
    )
    reference = str(tmp_path / "x.safetensors")
    with pytest.raises(UsageError, match="cannot be pruned with wanda, which looks at inputs"):
        prune_folder(PruneJob(reference, tmp_path / "a", Recipe()))
    done = prune_folder(PruneJob(reference, tmp_path / "b", Recipe("magnitude")))
    assert [line.name for line in done.ledger] == ["fc.weight"] and "nothing was run" in done.notes[0]
    found = load_file(tmp_path / "b" / "model.safetensors")
    assert (found["fc.weight"] == 0).sum() == 25 and (found["wte.weight"] != 0).all()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("method", "another"), [("sparsegpt", "wanda"), ("wanda", "sparsegpt")])
def test_an_interrupted_pruning_goes_on_and_ends_in_the_same_bytes(
    family_folders, data, tmp_path, stream, method, another
):
    def job(name, method=method):
        return PruneJob(
            str(family_folders["llama"]), tmp_path / name, Recipe(method), data[""], 4, 16, stream=stream
        )

    whole = prune_folder(job("whole"))

    def stop(line):
        if line.name.startswith("model.layers.1"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prune_folder(job("cut"), stop)
    with pytest.raises(UsageError, match="unfinished pruning with another model, data or settings"):
        prune_folder(job("cut", another))
    said = []
    again = prune_folder(job("cut"), say=said.append)
    assert "resumed: 1 layers were finished before" in said
    assert [vars(a) for a in again.ledger if a.note] == [vars(a) for a in whole.ledger if a.note]
    names = [p.name for p in (tmp_path / "whole").iterdir()]
    for name in names:
        if name != "pruning.json":
            assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    told = [json.loads((tmp_path / n / "pruning.json").read_text())["ledger"] for n in ("whole", "cut")]
    assert told[0] == told[1]
