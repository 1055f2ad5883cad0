"""Prune a model by reference and leave a folder: weights, masks, ledger, what it cost, size and speed, provenance."""

import importlib.metadata
import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from digsite.base import atomic
from digsite.base.errors import UsageError
from digsite.models.opening import Opened, of_module, one_batch, one_sentence, open_model, quiet_libraries
from digsite.models.opening.feeding import Batch
from digsite.models.opening.opened import locate_model
from digsite.prune.core import layers, matrix
from digsite.prune.core.inputs import kind_of
from digsite.prune.core.layers import LinearMap
from digsite.prune.core.matrix import method_named
from digsite.prune.core.model import PrunedMap, Recipe, prune_maps, prune_model
from digsite.prune.core.patterns import parse_pattern
from digsite.prune.core.walk import blocks_in
from digsite.prune.judge import cost, perplexity
from digsite.prune.judge.cost import say_coverage, say_result
from digsite.prune.judge.perplexity import Drift, has_logits, measure_drift, outputs_of
from digsite.prune.subjects.data import (
    PruneJob,
    calibration_data,
    hash_batch,
    held_out_data,
    move_batch,
    part_rows,
)
from digsite.prune.subjects.folders import (
    KeptProgress,
    LooseWeights,
    copy_side_files,
    is_unfinished,
    write_pruned,
)
from digsite.prune.subjects.language import PUBLISHED, Language, Windows, as_language
from digsite.prune.subjects.maskstore import StoredMasks, model_hash, read_masks, tensor_hash, write_masks
from digsite.prune.subjects.shards import ShardWriter
from digsite.prune.subjects.streaming import StreamedWeights, open_streamed
from digsite.weights import write_weights

PACKAGES = ("digsite", "torch", "numpy", "transformers")

Tell = Callable[[PrunedMap], None]
Say = Callable[[str], None]


@dataclass(frozen=True)
class PruneOutcome:
    """What is left of a pruning for whoever prints it."""

    ledger: list[PrunedMap]
    before: perplexity.Perplexity | None
    after: perplexity.Perplexity | None
    page: str
    provenance: dict[str, Any]
    drift: Drift | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pruned:
    """A pruned model in memory, with its ledger as a table and what pruning did to its output."""

    model: nn.Module
    lines: list[PrunedMap]
    notes: tuple[str, ...]
    before: perplexity.Perplexity | None
    after: perplexity.Perplexity | None
    drift: Drift | None

    @property
    def ledger(self) -> pd.DataFrame:
        """One row for each map: what share went, and what that did to the map's output."""
        rows = [(line.name, line.sparsity, line.relative_error, line.note) for line in self.lines]
        return pd.DataFrame(rows, columns=["name", "sparsity", "relative_error", "note"])

    def __repr__(self) -> str:
        lines = [*self.notes]
        if self.before is not None and self.after is not None:
            lines.append(f"perplexity {self.before.perplexity:.3f} before, {self.after.perplexity:.3f} after")
        return "\n".join([*lines, *([self.drift.sentence()] if self.drift is not None else [])])


def prune_folder(job: PruneJob, tell: Tell | None = None, say: Say | None = None) -> PruneOutcome:
    """Everything `digsite prune` does; `tell` gets each pruned map, `say` what a reader should know before and after."""
    if job.out.exists() and any(job.out.iterdir()) and not is_unfinished(job.out):
        raise UsageError(f"The folder '{job.out}' is not empty.", hint="Name a new folder with --out.")
    speak = say or (lambda _: None)
    with quiet_libraries():
        if job.stream:
            return _prune_streamed(job, tell, speak)
        opened = open_model(locate_model(job.reference))
        for note in opened.notes:
            speak(note)
        if opened.module is None:
            return _prune_loose(job, opened, tell, speak)
        return _in_memory(job, as_language(opened), tell, speak)


def prune(
    model: nn.Module | str,
    data: Any = None,
    *,
    method: str = "wanda",
    sparsity: float | None = None,
    pattern: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    swap: int = 0,
    owl: bool = False,
    sequences: int = 0,
    length: int = 0,
    seed: int = 0,
    device: str = "cpu",
) -> Pruned:
    """Prune a module or a model by reference, in one line: `digsite.prune(model, loader).model`.

    `data` is what the model takes: a tensor, a dict batch, a DataLoader of these (of its first rows, the last quarter is
    held out to score on), or for a reference also the name of a text, of images or of a file. A module is copied first;
    `include` and `exclude` are patterns over the names of its maps. `sequences`, `length` and `seed` choose from a text.

    `model` is a module or a reference, `method` a score, `sparsity` a share or `pattern` n:m, `swap` the most
    exchanges per row, `owl` whether layers with more outlying scores keep more, `device` where it runs.
    """
    recipe = Recipe(
        method_named(method), parse_pattern(sparsity, pattern), tuple(include), tuple(exclude), swap, owl
    )
    name, text = (argument if isinstance(argument, str) else "" for argument in (model, data))
    job = PruneJob(name or "your module", Path(), recipe, text, sequences, length, seed, device=device)
    with quiet_libraries():
        opened = open_model(locate_model(model)) if isinstance(model, str) else of_module(deepcopy(model))
        language = as_language(opened)
        chosen = _chosen_maps(job, language.model)
        if isinstance(model, str) and (data is None or isinstance(data, str)):
            batch, held = calibration_data(job, language), held_out_data(job, language)
        else:
            batch, held = part_rows(one_batch(data))
        language.model.to(device)
        before, dense = _score_model(language, held, device)
        with one_sentence("Running the model on the data", "Check that it is what this model takes."):
            ledger = prune_model(language.model, move_batch(batch, device), recipe)
        after, pruned = _score_model(language, held, device)
    drift = _drift_between(language, dense, pruned)
    notes = (*opened.notes, say_coverage(language.model, language.kind, chosen), *say_result(ledger))
    return Pruned(language.model, ledger, notes, before, after, drift)


def _in_memory(job: PruneJob, language: Language, tell: Tell | None, say: Say) -> PruneOutcome:
    """Score, prune, score again, write."""
    chosen = _chosen_maps(job, language.model)
    notes = _announce_coverage(language, chosen, say)
    fingerprint = model_hash((linear.name, linear.stored) for linear in layers.all_maps(language.model))
    masks = _given_masks(job, language, fingerprint)
    batch = calibration_data(job, language)
    language.model.to(job.device)
    _announce_cost(job, batch, chosen, say)
    held = held_out_data(job, language)
    if job.evaluation and isinstance(held, Windows):
        say(
            f"'{job.evaluation}' is scored before and after, in {len(held.tokens)} windows of {held.tokens.shape[1]} tokens"
        )
    before, dense = _score_model(language, held, job.device, job.precision)
    progress = _open_progress(job, fingerprint, batch, say)
    ledger = _run_job(job, language, batch, masks=masks, on_map=tell, progress=progress)
    after, pruned = _score_model(language, held, job.device, job.precision)
    drift = _drift_between(language, dense, pruned)
    language.model.to("cpu")
    write_pruned(job.out, language)
    done = _write_outcome(job, ledger, before, after, fingerprint, batch, drift, notes)
    progress.clear()
    return done


def _run_job(job: PruneJob, language: Language, batch: Batch | None, **how: Any) -> list[PrunedMap]:
    """`prune_model` on the calibration data; what a model says of data that it cannot take is one sentence."""
    hint = "Check that --calibration is what this model takes."
    with one_sentence("Running the model on the calibration data", hint):
        taken = move_batch(batch, job.device)
        return prune_model(language.model, taken, job.recipe, precision=job.precision, **how)


def _prune_streamed(job: PruneJob, tell: Tell | None, say: Say) -> PruneOutcome:
    """One layer in memory at a time. Scoring would read everything twice more, so it is left to the result."""
    if job.evaluation:
        hint = "Leave out --evaluation, and score the folder that comes out."
        raise UsageError(f"A streamed model is not scored, so '{job.evaluation}' is not read.", hint=hint)
    folder = Path(locate_model(job.reference).removeprefix("file:"))
    language, stored = open_streamed(folder)
    chosen = _chosen_maps(job, language.model)
    notes = _announce_coverage(language, chosen, say)
    batch = calibration_data(job, language)
    writer = ShardWriter(job.out)
    residency = StreamedWeights(language.model, stored, writer, job.device)
    fingerprint = model_hash(residency.read_maps())
    masks = _given_masks(job, language, fingerprint)
    _announce_cost(job, batch, chosen, say)
    progress = _open_progress(job, fingerprint, batch, say)
    ledger = _run_job(job, language, batch, masks=masks, residency=residency, on_map=tell, progress=progress)
    residency.write_rest()
    residency.close()
    writer.finish()
    copy_side_files(folder, job.out)
    done = _write_outcome(job, ledger, None, None, fingerprint, batch, None, notes)
    progress.clear()
    return done


def _prune_loose(job: PruneJob, opened: Opened, tell: Tell | None, say: Say) -> PruneOutcome:
    """Weights that no module runs: whatever looks at no inputs can still be done to their matrices."""
    if job.masks is None and (matrix.need_of(job.recipe.method) or job.recipe.swap or job.recipe.owl):
        opened.need_module(f"be pruned with {job.recipe.method}, which looks at inputs")
    assert opened.bundle is not None
    weights = LooseWeights(opened.bundle)
    maps = [
        LinearMap(name, weights, False, name)
        for name, tensor in weights.state().items()
        if tensor.ndim == 2
        and tensor.is_floating_point()
        and min(tensor.shape) > 1
        and not _is_embedding(name)
    ]
    if not maps:
        raise UsageError(f"'{job.reference}' has no matrix that could be pruned.")
    total = sum(tensor.numel() for tensor in weights.state().values())
    covered = sum(linear.size for linear in maps)
    note = (
        f"weights only ({opened.why_not.rstrip('.')}): {len(maps)} matrices hold {covered / total:.1%} of {total:,} "
        "numbers, as they are stored; nothing was run"
    )
    say(note)
    fingerprint = model_hash((linear.name, linear.stored) for linear in maps)
    masks = None
    if job.masks is not None:
        masks = read_masks(job.masks)
        masks.check_model({linear.name: tuple(linear.weight.shape) for linear in maps}, fingerprint)
    ledger = prune_maps(maps, job.recipe, masks, tell)
    write_weights(job.out / "model.safetensors", weights.state())
    if opened.folder is not None:
        copy_side_files(opened.folder, job.out)
    return _write_outcome(job, ledger, None, None, fingerprint, None, None, (note,))


def _is_embedding(name: str) -> bool:
    return any(word in name.lower() for word in ("embed", "wte", "wpe", "token_embd", "position"))


def _chosen_maps(job: PruneJob, model: torch.nn.Module) -> list[LinearMap]:
    """The maps to prune, after a check that the pattern fits every one of them: before anything is run."""
    maps = [
        m for block in layers.list_blocks(model, job.recipe.include, job.recipe.exclude) for m in block.maps
    ]
    pattern = job.recipe.pattern
    odd = (
        [linear for linear in maps if pattern.structured and linear.n_inputs % pattern.m]
        if job.masks is None
        else []
    )
    if odd:
        raise UsageError(
            f"The pattern {pattern} does not divide the inputs of {len(odd)} of {len(maps)} maps, first the "
            f"{odd[0].n_inputs} inputs of {odd[0].name}.",
            hint=f"Leave them out (--exclude '{layers.component_of(odd[0].name)}'), or give an unstructured --sparsity.",
        )
    return maps


def _announce_coverage(language: Language, chosen: Sequence[LinearMap], say: Say) -> tuple[str, ...]:
    note = say_coverage(language.model, language.kind, chosen)
    say(note)
    return (*(language.opened.notes if language.opened is not None else ()), note)


def _announce_cost(job: PruneJob, batch: Batch | None, chosen: Sequence[LinearMap], say: Say) -> None:
    if batch is not None:
        exact = matrix.need_of(job.recipe.method) == "gram" or bool(job.recipe.swap)
        wanted, kind = job.sequences or PUBLISHED[0], kind_of(job.precision)
        say(cost.say_cost(batch, chosen, exact, job.device, wanted, kind))


def _given_masks(job: PruneJob, language: Language, fingerprint: str) -> StoredMasks | None:
    if job.masks is None:
        return None
    stored = read_masks(job.masks)
    stored.check_model(layers.map_shapes(language.model), fingerprint)
    return stored


def _score_model(
    language: Language, held: Windows | Batch | None, device: str, precision: str = "float32"
) -> tuple[perplexity.Perplexity | None, Tensor | None]:
    """Perplexity of a causal model on text, the main output of any other."""
    if held is None:
        return None, None
    model = language.model
    with blocks_in(model, precision):
        if isinstance(held, Windows):
            return perplexity.measure_perplexity(model, held.tokens.to(device), n_bytes=held.n_bytes), None
        return None, outputs_of(model, move_batch(held, device))  # pyright: ignore[reportArgumentType]


def _drift_between(language: Language, dense: Tensor | None, pruned: Tensor | None) -> Drift | None:
    if dense is None or pruned is None:
        return None
    return measure_drift(dense, pruned, has_logits(language.model))


def _open_progress(job: PruneJob, fingerprint: str, batch: Batch | None, say: Say) -> KeptProgress:
    marks = f"bits {fingerprint} {job.recipe} {job.precision} {job.masks} {hash_batch(batch)}"
    whose = tensor_hash([torch.tensor(list(marks.encode()))])
    progress = KeptProgress(job.out, whose)
    if n := progress.n_finished:
        say(f"resumed: {n} layers were finished before")
    return progress


def _write_outcome(
    job: PruneJob,
    ledger: list[PrunedMap],
    before: perplexity.Perplexity | None,
    after: perplexity.Perplexity | None,
    fingerprint: str,
    batch: Batch | None,
    drift: Drift | None,
    notes: Sequence[str],
) -> PruneOutcome:
    """Masks, ledger, size and speed, provenance: what a reader of the folder needs."""
    provenance = _collect_provenance(job, fingerprint, batch)
    write_masks(job.out / "masks.safetensors", {line.name: line.mask for line in ledger}, provenance)
    costs = [cost.measure_cost(line.name, line.keep.numpy(), 4) for line in ledger]
    page = cost.write_page(
        costs, cost.measure_two_four(torch.ones_like(ledger[0].keep, dtype=torch.half)) if ledger else None
    )
    atomic.write_text(job.out / "size_and_speed.md", page)
    rows = [
        {
            "name": line.name,
            "layer": layers.layer_number(line.name),
            "component": layers.component_of(line.name),
            "sparsity": line.sparsity,
            "relative_error": line.relative_error,
            "note": line.note,
        }
        for line in ledger
    ]
    summary = {
        "provenance": provenance,
        "notes": list(notes),
        "ledger": rows,
        "before": before.facts if before else None,
        "after": after.facts if after else None,
        "drift": vars(drift) if drift else None,
    }
    atomic.write_text(job.out / "pruning.json", json.dumps(summary, indent=2) + "\n")
    return PruneOutcome(ledger, before, after, page, provenance, drift, (*notes, *say_result(ledger)))


def _collect_provenance(job: PruneJob, fingerprint: str, batch: Batch | None) -> dict[str, Any]:
    """Everything that is needed to make these masks again."""
    return {
        "model": job.reference,
        "model_hash": fingerprint,
        "calibration": job.text or "default",
        "calibration_hash": hash_batch(batch),
        "seed": job.seed,
        "masks": str(job.masks) if job.masks else None,
        "method": job.recipe.method,
        "pattern": str(job.recipe.pattern),
        "ratio": job.recipe.pattern.ratio,
        "swap": job.recipe.swap,
        "owl": job.recipe.owl,
        "repair": list(job.recipe.repair),
        "allocation": job.recipe.allocation,
        "settings": dict(job.recipe.settings),
        "precision": job.precision,
        "versions": {name: _version_of(name) for name in PACKAGES},
    }


def _version_of(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
