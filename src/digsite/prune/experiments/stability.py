"""The stability claims of mask-clusters."""

from typing import TYPE_CHECKING

import numpy as np

from digsite.prune.config import ClustersConfig
from digsite.prune.core.packed import features_of
from digsite.prune.experiments import masks
from digsite.prune.judge.nulls import Observed, margins
from digsite.prune.judge.stability import Asked, agreement

if TYPE_CHECKING:
    from digsite.worker.run import Run


def claim_stability(config: ClustersConfig, run: "Run", keep: np.ndarray, centers: list[int]) -> None:
    """How well clusters come back, beside what clusters of structureless masks with the same margins do."""
    asked = Asked(centers, config.n_similar, config.k_values, config.clustering, config.n_init, config.seed)
    features = features_of(keep, config.axis)
    draws = range(1, 1 if config.masks else config.resamples)

    def seen() -> dict:
        others = [features_of(masks.one_mask(config, run, draw)[1], config.axis) for draw in draws]
        return agreement(features, others, asked, config.bootstraps)

    def by_chance() -> dict:
        """Two draws with the mask's margins are two masks that share their densities and nothing else."""
        source = Observed(features, trades=config.nulls.trades)
        drawn = list(margins.draws(source, 2 * config.null_pairs, run.derive("stability")))
        run.stage("clusters that come back by chance", config.null_pairs)
        pairs = [agreement(a, [b], asked, 1) for a, b in zip(drawn[::2], drawn[1::2])]
        return {kind: np.stack([pair[kind] for pair in pairs]) for kind in pairs[0]}

    found, null = run.once("stability", seen), run.once("null-stability", by_chance)
    for kind, values in found.items():
        for place, k in enumerate(config.k_values):
            low, high = np.quantile(null[kind][:, place], [0.025, 0.975])
            run.claim(
                f"ari/{kind}/k={k}",
                float(values[place]),
                n=config.seeds,
                null=float(null[kind][:, place].mean()),
                null_low=float(low),
                null_high=float(high),
                kind="correlation",
                better="higher",
                null_is="masks with the same densities",
                title=f"Clusters that come back, k={k} (adjusted Rand index): "
                + ("resampled positions" if kind == "bootstrap" else "other calibration sets"),
            )
