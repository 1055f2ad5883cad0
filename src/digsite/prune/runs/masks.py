"""The first steps of every study: a trained model, calibration draws, masks; each kept so that a resume is cheap."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from digsite.base import atomic
from digsite.prune import source
from digsite.prune.config import OneMask, Pruning
from digsite.prune.language import Language
from digsite.prune.maskstore import packed_tensors, read_masks
from digsite.prune.nulls import Observed
from digsite.prune.packed import pack
from digsite.prune.source import MaskedMap

if TYPE_CHECKING:
    from digsite.worker.run import Run

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
    stored = read_masks(Path(config.masks))
    name = stored.find(config.layer, config.component)
    return name, stored[name]


def store_mask(run: "Run", name: str, keep: np.ndarray, config: Pruning) -> None:
    tensors, metadata = packed_tensors({name: keep}, {"settings": config.model_dump(mode="json")})
    run.tensors("mask", tensors, metadata)
    run.view(
        "mask", kind="matrix", source=f"artifacts/mask.safetensors#{name}", bits=keep.shape[1],
        x_label="input", y_label="output", title=f"Mask of {name}",
    )  # fmt: skip


def copy_out(run: "Run", folder: str) -> None:
    """The original's output folder: pictures and the summary, also outside of the run."""
    if not folder:
        return
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    for path in [*run.dir.glob("figures/*.png"), *run.dir.glob("artifacts/metrics_summary.json")]:
        atomic.write_bytes(target / path.name, path.read_bytes())
