"""Prune a model by reference and leave a folder: weights, masks, ledger, perplexity, size and speed, provenance."""

import importlib.metadata
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from digsite.base import atomic
from digsite.base.errors import NotFound, UsageError
from digsite.prune.core import layers, matrix
from digsite.prune.core.model import PrunedMap, Recipe, prune_model
from digsite.prune.judge import cost, perplexity
from digsite.prune.subjects.calibration import Windows, windows
from digsite.prune.subjects.language import Language, load_language, located
from digsite.prune.subjects.maskstore import StoredMasks, model_hash, read_masks, tensor_hash, write_masks
from digsite.prune.subjects.shards import ShardWriter, copy_beside
from digsite.prune.subjects.streaming import Streamed, open_streamed
from digsite.weights import write_weights

PACKAGES = ("digsite", "torch", "numpy", "transformers")


@dataclass(frozen=True)
class Job:
    reference: str
    out: Path
    recipe: Recipe
    text: str = ""
    sequences: int = 64
    length: int = 0
    seed: int = 0
    stream: bool = False
    masks: Path | None = None  # apply these instead of making new ones
    evaluation_windows: int = 32


@dataclass(frozen=True)
class Outcome:
    ledger: list[PrunedMap]
    before: perplexity.Perplexity | None
    after: perplexity.Perplexity | None
    page: str
    provenance: dict[str, Any]


def prune_folder(job: Job, tell: Callable[[PrunedMap], None] | None = None) -> Outcome:
    """Everything `digsite prune` does."""
    if job.out.exists() and any(job.out.iterdir()):
        raise UsageError(f"The folder '{job.out}' is not empty.", hint="Name a new folder with --out.")
    return _streamed(job, tell) if job.stream else _in_memory(job, tell)


def _in_memory(job: Job, tell: Callable[[PrunedMap], None] | None) -> Outcome:
    language = load_language(job.reference)
    fingerprint = model_hash((one.name, one.stored) for one in layers.all_maps(language.model))
    masks = _given_masks(job, language, fingerprint)
    tokens, held = _calibration(job, language), _evaluation(job, language)
    before = _evaluate(language, held)
    ledger = prune_model(language.model, tokens, job.recipe, masks=masks, on_map=tell)
    after = _evaluate(language, held)
    _write_model(job, language)
    return _finish(job, ledger, before, after, fingerprint, tokens)


def _streamed(job: Job, tell: Callable[[PrunedMap], None] | None) -> Outcome:
    """One layer in memory at a time. Perplexity would read everything twice more, so it is left to the result."""
    folder = Path(located(job.reference).removeprefix("file:"))
    language, stored = open_streamed(folder)
    tokens = _calibration(job, language)
    writer = ShardWriter(job.out)
    residency = Streamed(language.model, stored, writer)
    fingerprint = model_hash(residency.read_maps())
    masks = _given_masks(job, language, fingerprint)
    residency.write_rest()
    ledger = prune_model(language.model, tokens, job.recipe, masks=masks, residency=residency, on_map=tell)
    residency.close()
    writer.finish(folder)
    return _finish(job, ledger, None, None, fingerprint, tokens)


def _given_masks(job: Job, language: Language, fingerprint: str) -> StoredMasks | None:
    if job.masks is None:
        return None
    stored = read_masks(job.masks)
    stored.check_model(layers.shapes(language.model), fingerprint)
    return stored


def _calibration(job: Job, language: Language) -> Tensor | None:
    needed = job.masks is None and matrix.needs(job.recipe.method)
    wanted = (job.text, job.recipe.swap, job.recipe.owl, job.recipe.repair, job.recipe.allocation)
    if not needed and not any(wanted):
        return None
    return windows(language, job.text, job.sequences, job.length, job.seed).tokens


def _evaluation(job: Job, language: Language) -> Windows | None:
    try:
        return windows(language, job.text, job.evaluation_windows, job.length, job.seed, "test", fewer=True)
    except (
        UsageError,
        NotFound,
    ):  # no text, or too little to hold any back: the ledger says what pruning did
        return None


def _evaluate(language: Language, held: Windows | None) -> perplexity.Perplexity | None:
    return None if held is None else perplexity.evaluate(language.model, held.tokens, n_bytes=held.n_bytes)


def _write_model(job: Job, language: Language) -> None:
    model: Any = language.model
    job.out.mkdir(parents=True, exist_ok=True)
    if hasattr(model, "save_pretrained"):
        model.save_pretrained(job.out, safe_serialization=True)
    else:
        meta = {"digsite.model": model.config.model_dump(mode="json")} if hasattr(model, "config") else {}
        write_weights(job.out / "model.safetensors", model, meta)
    if language.folder is not None:
        source = language.folder if language.folder.is_dir() else language.folder.parent
        copy_beside(
            source, job.out, ("tokenizer*", "tok*", "vocab*", "merges.txt", "special_tokens_map.json")
        )


def _finish(
    job: Job,
    ledger: list[PrunedMap],
    before: perplexity.Perplexity | None,
    after: perplexity.Perplexity | None,
    fingerprint: str,
    tokens: Tensor | None,
) -> Outcome:
    provenance = {
        "model": job.reference,
        "model_hash": fingerprint,
        "calibration": job.text or "default",
        "calibration_hash": tensor_hash([tokens]) if tokens is not None else None,
        "seed": job.seed,
        "masks": str(job.masks) if job.masks else None,
        "method": job.recipe.method,
        "pattern": str(job.recipe.pattern),
        "ratio": job.recipe.pattern.ratio,
        "swap": job.recipe.swap,
        "owl": job.recipe.owl,
        "repair": list(job.recipe.repair),
        "allocation": job.recipe.allocation,
        "settings": vars(job.recipe.settings),
        "versions": {name: _version(name) for name in PACKAGES},
    }
    write_masks(job.out / "masks.safetensors", {one.name: one.mask for one in ledger}, provenance)
    costs = [cost.cost(one.name, one.keep.numpy(), 4) for one in ledger]
    page = cost.page(
        costs, cost.measure_two_four(torch.ones_like(ledger[0].keep, dtype=torch.half)) if ledger else None
    )
    atomic.write_text(job.out / "size_and_speed.md", page)
    rows = [
        {
            "name": one.name,
            "layer": layers.layer_number(one.name),
            "component": layers.component(one.name),
            "sparsity": one.sparsity,
            "relative_error": one.relative_error,
            "note": one.note,
        }
        for one in ledger
    ]
    told = {"provenance": provenance, "ledger": rows, "before": _told(before), "after": _told(after)}
    atomic.write_text(job.out / "pruning.json", json.dumps(told, indent=2) + "\n")
    return Outcome(ledger, before, after, page, provenance)


def _told(measured: perplexity.Perplexity | None) -> dict[str, Any] | None:
    if measured is None:
        return None
    return {
        "nats_per_token": measured.nats,
        "perplexity": measured.perplexity,
        "context": measured.context,
        "bits_per_byte": measured.bits_per_byte,
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
