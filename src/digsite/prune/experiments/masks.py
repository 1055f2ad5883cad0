"""The steps that several studies share: a trained model, calibration draws, masks (each kept, so that a resume is cheap), tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from digsite.base import atomic
from digsite.prune.config import ClustersConfig, OneMask, Pruning
from digsite.prune.core import layers
from digsite.prune.core.clusters import cluster_features
from digsite.prune.core.packed import orient_features, pack
from digsite.prune.judge.comparison import AskedClusters, measure_stability
from digsite.prune.judge.nulls import ObservedMask
from digsite.prune.judge.nulls.random_masks import Margins
from digsite.prune.judge.verdict import JudgedTest
from digsite.prune.subjects import language
from digsite.prune.subjects.language import Language, MaskedMap
from digsite.prune.subjects.maskstore import model_hash, packed_tensors, read_masks

if TYPE_CHECKING:
    from digsite.worker.run import Run

SHOWN_CLUSTERS = 8
MOST_CLUSTERED = 4096

Wanted = Sequence[tuple[int, str]] | None


def fresh_language(config: Pruning, run: "Run") -> Language:
    """A fresh copy of the dense model; the embedded one is trained once per run."""
    state = None
    if config.model == "stories":
        state = run.once("model", lambda: language.train_story_model(config.story, config.seed))
    return language.language_of(config, state)


def make_masks(
    config: Pruning, run: "Run", wanted: Wanted, *, method: str | None = None, draw: int = 0
) -> list[MaskedMap]:
    """Masks of the wanted maps from one calibration draw."""
    recipe = language.recipe_of(config, method)

    def compute() -> list[dict]:
        subject = fresh_language(config, run)
        tokens = language.calibration_tokens(subject, config, draw)
        return [
            language.as_state(masked_map)
            for masked_map in language.mask_maps(subject, recipe, tokens, wanted)
        ]

    name = f"masks-{config.model}-{recipe.method}-{draw}".replace("/", "_")
    return [language.from_state(state, recipe) for state in run.once(name, compute)]


def as_observed(masked_map: MaskedMap, trades: int) -> ObservedMask:
    """A mask with what each null needs to draw others like it."""
    return ObservedMask(pack(masked_map.keep.numpy()), masked_map.weight, masked_map.prune_again, trades)


def one_mask(config: OneMask, run: "Run", draw: int = 0) -> tuple[str, np.ndarray, MaskedMap | None]:
    """Name, mask, and where it came from (None for a mask read from a file)."""
    if config.masks:
        name, keep = read_one(config)
        return name, keep, None
    (masked_map,) = make_masks(config, run, [(config.layer, config.component)], draw=draw)
    return masked_map.name, masked_map.keep.numpy(), masked_map


def read_one(config: OneMask) -> tuple[str, np.ndarray]:
    """A mask from a file; where a trained model is named beside it, the file must be of that model."""
    stored = read_masks(Path(config.masks))
    if config.model != "stories":
        model = language.language_of(config, None).model
        weights = ((linear.name, linear.stored) for linear in layers.all_maps(model))
        stored.check_model(layers.map_shapes(model), model_hash(weights))
    name = stored.find(config.layer, config.component)
    return name, stored[name]


def store_mask(run: "Run", name: str, keep: np.ndarray, config: Pruning) -> None:
    """The mask, with clusters of its rows and columns that the dashboard can sort it by."""
    tensors, metadata = packed_tensors({name: keep}, {"settings": config.model_dump(mode="json")})
    labels = {f"{axis}_labels": _label_features(keep, f"{axis}s") for axis in ("row", "column")}
    label_tensors = {key: torch.from_numpy(value) for key, value in labels.items() if value is not None}
    run.tensors("mask", tensors | label_tensors, metadata)
    run.view(
        "mask",
        kind="matrix",
        source=f"artifacts/mask.safetensors#{name}",
        bits=keep.shape[1],
        x_label="input",
        y_label="output",
        title=f"Mask of {name}",
        **{key: f"#{key}" for key in label_tensors},
    )


def _label_features(keep: np.ndarray, axis: str) -> np.ndarray | None:
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


# Tables that several studies write.


def test_table(judged: Sequence[JudgedTest]) -> pd.DataFrame:
    """One line per test: what was seen, what the null gives, how sure that is."""
    return pd.DataFrame(
        {
            "statistic": judged_test.test.statistic,
            "axis": judged_test.test.axis,
            "null": judged_test.test.null,
            "observed": judged_test.test.observed,
            "null mean": judged_test.test.null_mean,
            "null std": judged_test.test.null_std,
            "z": judged_test.test.z,
            "effect": judged_test.test.effect,
            "p": judged_test.test.p,
            "q": judged_test.q,
            "draws": judged_test.test.draws,
        }
        for judged_test in judged
    )


test_table.__test__ = False  # pyright: ignore[reportFunctionMemberAccess]


# The stability claims of mask-clusters.
_DRAWN_AGAIN = {"bootstrap": "resampled positions", "calibration": "other calibration sets"}


def claim_stability(config: ClustersConfig, run: "Run", keep: np.ndarray, centers: list[int]) -> None:
    """How well clusters come back, beside what clusters of structureless masks with the same margins do."""
    asked = AskedClusters(
        centers, config.n_similar, config.k_values, config.clustering, config.n_init, config.seed
    )
    features = orient_features(keep, config.axis)
    draws = range(1, 1 if config.masks else config.resamples)

    def seen() -> dict:
        others = [orient_features(one_mask(config, run, draw)[1], config.axis) for draw in draws]
        return measure_stability(features, others, asked, config.bootstraps)

    def by_chance() -> dict:
        """Two draws with the mask's margins are two masks that share their densities and nothing else."""
        source = ObservedMask(features, trades=config.nulls.trades)
        drawn = list(Margins().draw_masks(source, 2 * config.null_pairs, run.derive("stability")))
        run.stage("clusters that come back by chance", config.null_pairs)
        pairs = [measure_stability(a, [b], asked, 1) for a, b in zip(drawn[::2], drawn[1::2])]
        return {kind: np.stack([pair[kind] for pair in pairs]) for kind in pairs[0]}

    agreement, null = run.once("stability", seen), run.once("null-stability", by_chance)
    for kind, values in agreement.items():
        for position, k in enumerate(config.k_values):
            low, high = np.quantile(null[kind][:, position], [0.025, 0.975])
            run.claim(
                f"ari/{kind}/k={k}",
                float(values[position]),
                n=config.seeds,
                null=float(null[kind][:, position].mean()),
                null_low=float(low),
                null_high=float(high),
                kind="correlation",
                better="higher",
                null_is="masks with the same densities",
                title=f"Clusters that come back, k={k} (adjusted Rand index): " + _DRAWN_AGAIN[kind],
            )
