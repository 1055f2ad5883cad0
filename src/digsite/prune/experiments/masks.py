"""The first steps of every study: a trained model, calibration draws, masks; each kept so that a resume is cheap."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from digsite.base import atomic
from digsite.prune.config import OneMask, Pruning
from digsite.prune.core import layers
from digsite.prune.core.clusters import cluster_features
from digsite.prune.core.packed import pack
from digsite.prune.judge.nulls import Observed
from digsite.prune.subjects import source
from digsite.prune.subjects.language import Language
from digsite.prune.subjects.maskstore import model_hash, packed_tensors, read_masks
from digsite.prune.subjects.source import MaskedMap

if TYPE_CHECKING:
    from digsite.worker.run import Run

SHOWN_CLUSTERS = 8
MOST_CLUSTERED = 4096

Wanted = Sequence[tuple[int, str]] | None


def language(config: Pruning, run: "Run") -> Language:
    """A fresh copy of the dense model; the embedded one is trained once per run."""
    state = None
    if config.model == "stories":
        state = run.once("model", lambda: source.story_model(config.story, config.seed))
    return source.language_of(config, state)


def masked(
    config: Pruning, run: "Run", wanted: Wanted, *, method: str | None = None, draw: int = 0
) -> list[MaskedMap]:
    """Masks of the wanted maps from one calibration draw."""
    recipe = source.recipe_of(config, method)

    def compute() -> list[dict]:
        subject = language(config, run)
        tokens = source.calibration_tokens(subject, config, draw)
        return [source.as_state(one) for one in source.masked_maps(subject, recipe, tokens, wanted)]

    name = f"masks-{config.model}-{recipe.method}-{draw}".replace("/", "_")
    return [source.from_state(state, recipe) for state in run.once(name, compute)]


def observed(one: MaskedMap, trades: int) -> Observed:
    return Observed(pack(one.keep.numpy()), one.weight, one.prune_again, trades)


def one_mask(config: OneMask, run: "Run", draw: int = 0) -> tuple[str, np.ndarray, MaskedMap | None]:
    """Name, mask, and where it came from (None for a mask read from a file)."""
    if config.masks:
        name, keep = read_one(config)
        return name, keep, None
    (found,) = masked(config, run, [(config.layer, config.component)], draw=draw)
    return found.name, found.keep.numpy(), found


def read_one(config: OneMask) -> tuple[str, np.ndarray]:
    """A mask from a file; where a trained model is named beside it, the file must be of that model."""
    stored = read_masks(Path(config.masks))
    if config.model != "stories":
        model = source.language_of(config, None).model
        weights = ((one.name, one.stored) for one in layers.all_maps(model))
        stored.check_model(layers.shapes(model), model_hash(weights))
    name = stored.find(config.layer, config.component)
    return name, stored[name]


def store_mask(run: "Run", name: str, keep: np.ndarray, config: Pruning) -> None:
    """The mask, with clusters of its rows and columns that the dashboard can sort it by."""
    tensors, metadata = packed_tensors({name: keep}, {"settings": config.model_dump(mode="json")})
    labels = {f"{axis}_labels": _labels(keep, f"{axis}s") for axis in ("row", "column")}
    found = {key: torch.from_numpy(value) for key, value in labels.items() if value is not None}
    run.tensors("mask", tensors | found, metadata)
    run.view(
        "mask",
        kind="matrix",
        source=f"artifacts/mask.safetensors#{name}",
        bits=keep.shape[1],
        x_label="input",
        y_label="output",
        title=f"Mask of {name}",
        **{key: f"#{key}" for key in found},
    )


def _labels(keep: np.ndarray, axis: str) -> np.ndarray | None:
    """Clusters for the eye; None where all pairs of features would be too many to look at."""
    n = keep.shape[0] if axis == "rows" else keep.shape[1]
    if n > MOST_CLUSTERED:
        return None
    return cluster_features(keep, min(SHOWN_CLUSTERS, n), axis, n_init=3).labels.astype(np.int32)


def copy_out(run: "Run", folder: str) -> None:
    """The original's output folder: pictures and the summary, also outside of the run."""
    if not folder:
        return
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    for path in [*run.dir.glob("figures/*.png"), *run.dir.glob("artifacts/metrics_summary.json")]:
        atomic.write_bytes(target / path.name, path.read_bytes())
