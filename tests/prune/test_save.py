"""Whole folders, in memory and streamed: the same masks, loadable results, everything beside them."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from digsite.base.errors import NotFound, UsageError
from digsite.data import stories
from digsite.models import build
from digsite.models import parse as parse_model
from digsite.prune.api import PruneJob, prune_folder
from digsite.prune.core.model import Recipe
from digsite.prune.core.patterns import parse_pattern
from digsite.prune.judge.perplexity import measure_perplexity
from digsite.prune.subjects.language import load_language
from digsite.prune.subjects.maskstore import read_masks
from digsite.prune.subjects.shards import list_stored
from digsite.prune.subjects.streaming import StreamedWeights, open_streamed
from digsite.weights import write_weights


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
def test_a_streamed_model_is_the_model_pruned_in_memory(folders, corpus, tmp_path, family):
    recipe = Recipe("wanda", parse_pattern(pattern="2:4"))
    jobs = [
        PruneJob(
            str(folders / family), tmp_path / kind, recipe, str(corpus), 4, 20, stream=kind == "streamed"
        )
        for kind in ("whole", "streamed")
    ]
    whole, streamed = (prune_folder(job) for job in jobs)
    masks = read_masks(tmp_path / "streamed" / "masks.safetensors")
    assert len(masks) == len(whole.ledger) > 7
    for one in whole.ledger:
        assert (masks[one.name] == one.keep.numpy()).all()
    models = [load_language(str(tmp_path / kind)).model for kind in ("whole", "streamed")]
    for (name, a), (_, b) in zip(models[0].named_parameters(), models[1].named_parameters()):
        assert torch.equal(a, b), name
    assert whole.after is not None and whole.after.context == 20 and streamed.after is None


def test_everything_is_beside_the_weights(folders, corpus, tmp_path):
    done = prune_folder(
        PruneJob(str(folders / "llama"), tmp_path / "out", Recipe("sparsegpt"), str(corpus), 4, 20)
    )
    told = json.loads((tmp_path / "out" / "pruning.json").read_text())
    assert told["provenance"]["method"] == "sparsegpt" and len(told["provenance"]["model_hash"]) == 24
    assert (
        told["after"]["context"] == 20 and told["before"]["bits_per_byte"] > 0 and len(told["ledger"]) == 14
    )
    page = (tmp_path / "out" / "size_and_speed.md").read_text()
    assert "unchanged by pruning" in page and "expect no speedup" in page and done.page == page
    again = load_language(str(tmp_path / "out"))
    assert again.tokenizer is not None
    zeros = np.mean(
        [float((again.model.get_submodule(one.name).weight == 0).float().mean()) for one in done.ledger]
    )
    assert zeros == pytest.approx(0.5, abs=0.03)


def test_a_model_of_ours_is_written_as_ours(tmp_path):
    config = {
        "vocab": stories.story_tokenizer().size,
        "d_model": 16,
        "d_mlp": 24,
        "n_layers": 2,
        "n_heads": 2,
        "n_kv_heads": 1,
        "context": 24,
    }
    model = build(parse_model({"kind": "llama", **config}))
    write_weights(
        tmp_path / "in" / "model.safetensors", model, {"digsite.model": model.config.model_dump(mode="json")}
    )
    done = prune_folder(
        PruneJob(
            str(tmp_path / "in" / "model.safetensors"),
            tmp_path / "out",
            Recipe("magnitude"),
            evaluation_windows=2,
        )
    )
    assert done.provenance["calibration_hash"] is None
    assert load_language(str(tmp_path / "out" / "model.safetensors")).context == 24


@pytest.mark.parametrize("stream", [False, True])
def test_masks_of_a_file_are_applied_to_their_model_and_to_no_other(folders, corpus, tmp_path, stream):
    first = prune_folder(
        PruneJob(str(folders / "llama"), tmp_path / "first", Recipe("wanda"), str(corpus), 4, 20)
    )
    file = tmp_path / "first" / "masks.safetensors"
    job = PruneJob(
        str(folders / "llama"), tmp_path / "again", Recipe(), str(corpus), 4, 20, stream=stream, masks=file
    )
    again = prune_folder(job)
    for a, b in zip(first.ledger, again.ledger):
        assert a.name == b.name and (a.mask.words == b.mask.words).all()
        assert a.relative_error == pytest.approx(b.relative_error)
    with pytest.raises(UsageError, match="masks are of another model"):
        prune_folder(replace(job, reference=str(folders / "gpt2"), out=tmp_path / "other"))
    with pytest.raises(UsageError, match="masks are of another model: they were made from"):
        prune_folder(replace(job, reference=str(tmp_path / "first"), out=tmp_path / "third"))


def test_a_full_folder_is_not_written_over(folders, tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(UsageError, match="is not empty"):
        prune_folder(PruneJob(str(folders / "llama"), tmp_path, Recipe()))


def test_streaming_leaves_nothing_in_memory(folders):
    language, stored = open_streamed(folders / "llama")
    assert all(p.is_meta for p in language.model.parameters()) and stored == list_stored(folders / "llama")
    residency = StreamedWeights(language.model, stored, None)
    with torch.no_grad():
        from digsite.prune.core import layers
        from digsite.prune.core.walk import walk_blocks

        alive = []
        walk_blocks(
            language.model,
            layers.list_blocks(language.model),
            torch.randint(0, 300, (3, 9)),
            lambda block, _: alive.append([n for n, p in language.model.named_parameters() if not p.is_meta]),
            residency=residency,
        )
    assert all(name.startswith(f"model.layers.{i}.") for i, names in enumerate(alive) for name in names)
    residency.close()
    whole = load_language(str(folders / "llama"))
    assert measure_perplexity(whole.model, torch.randint(0, 300, (2, 9))).nats > 0


def test_a_text_that_was_named_is_scored_as_a_whole(folders, corpus, tmp_path, monkeypatch):
    """As published: one stream of tokens, cut at the context; a standard by its name, and nothing in silence."""
    monkeypatch.setenv("DIGSITE_DATA", str(tmp_path))
    (tmp_path / "text").mkdir()
    rows = ["the cat sat on the mat . " * 40, "", "a dog ran home . " * 30]
    (tmp_path / "text" / "wikitext-2-raw-test.json").write_text(json.dumps(rows))
    job = PruneJob(
        str(folders / "llama"), tmp_path / "out", Recipe(), str(corpus), 4, 16, evaluation="wikitext2"
    )
    said = []
    done = prune_folder(job, say=said.append)
    language = load_language(str(folders / "llama"))
    ids = list(language.tokenizer.encode("\n\n".join(rows)))
    n = len(ids) // language.context
    windows = torch.tensor(ids[: n * language.context]).view(n, -1)
    assert done.before.perplexity == pytest.approx(
        measure_perplexity(language.model, windows).perplexity, rel=1e-5
    )
    assert done.before.context == language.context and any(f"in {n} windows of" in line for line in said)
    with pytest.raises(UsageError, match="A streamed model is not scored, so 'wikitext2' is not read"):
        prune_folder(replace(job, out=tmp_path / "other", stream=True))
    with pytest.raises(NotFound, match="There is no text 'wikitext3'"):
        prune_folder(replace(job, out=tmp_path / "third", evaluation="wikitext3"))


def test_a_folder_of_an_unknown_architecture_is_pruned_by_magnitude_alone(folders, corpus, tmp_path):
    """Its weights are matrices all the same; everything beside them comes back, and what looks at inputs says why not."""
    odd = tmp_path / "odd"
    shutil.copytree(folders / "llama", odd)
    config = json.loads((odd / "config.json").read_text()) | {"model_type": "frobnicator"}
    (odd / "config.json").write_text(json.dumps(config))
    job = PruneJob(str(odd), tmp_path / "out", Recipe("magnitude"))
    done = prune_folder(job)
    assert len(done.ledger) >= 14 and all(0.45 < line.sparsity < 0.55 for line in done.ledger)
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == config
    with pytest.raises(UsageError, match="which looks at inputs: The architecture 'frobnicator' of"):
        prune_folder(replace(job, recipe=Recipe(), text=str(corpus), out=tmp_path / "other"))
