"""mask-comparison: do methods, calibration sets and sparsities choose the same weights, beyond what densities force?"""

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from digsite.base.intervals import student
from digsite.figures import heatmap
from digsite.prune.config import ComparisonConfig
from digsite.prune.core.matrix import method_named
from digsite.prune.experiments import masks
from digsite.prune.judge.comparison import decided_by_data, overlap, per_feature

if TYPE_CHECKING:
    from digsite.worker.run import Run


def comparison(config: ComparisonConfig, run: "Run") -> None:
    methods = [method_named(name) for name in config.methods]
    drawn = {method: _draws(config, run, method) for method in methods}
    everything = {method: draws[0] for method, draws in drawn.items()}
    for share in config.sparsities:
        other = config.model_copy(update={"sparsity": share})
        everything[f"{methods[0]} at {share:.0%}"] = run.once(
            f"sparsity-{share}", lambda other=other: _fresh(other, run, methods[0])
        )["keep"]
    _pair_table(config, run, everything)
    _across_draws(run, drawn)
    _verdict(run, drawn, methods)


def _draws(config: ComparisonConfig, run: "Run", method: str) -> list[np.ndarray]:
    wanted = [(config.layer, config.component)]
    return [
        masks.masked(config, run, wanted, method=method, draw=d)[0].keep.numpy()
        for d in range(config.resamples)
    ]


def _fresh(config: ComparisonConfig, run: "Run", method: str) -> dict:
    from digsite.prune.subjects import source

    subject = masks.language(config, run)
    tokens = source.calibration_tokens(subject, config)
    (one,) = source.masked_maps(
        subject, source.recipe_of(config, method), tokens, [(config.layer, config.component)]
    )
    return {"keep": one.keep.numpy()}


def _pair_table(config: ComparisonConfig, run: "Run", everything: dict[str, np.ndarray]) -> None:
    names, rows = list(everything), []
    kappa = np.eye(len(names))
    for (i, a), (j, b) in combinations(enumerate(names), 2):
        found = overlap(everything[a], everything[b])
        features = per_feature(everything[a], everything[b], config.axis)
        kappa[i, j] = kappa[j, i] = found.kappa
        rows.append(
            {
                "a": a,
                "b": b,
                **vars(found),
                "feature jaccard": features.jaccard.mean(),
                "feature cosine": features.cosine.mean(),
                "feature hamming": features.hamming.mean(),
            }
        )
    run.table("pairs", pd.DataFrame(rows))
    run.view("pairs", kind="table", source="tables/pairs.csv")
    picture = heatmap(kappa, x="mask", y="mask", unit="kappa beyond margins", ticks_x=names, ticks_y=names)
    run.figure(
        "kappa",
        picture,
        pd.DataFrame(kappa, index=pd.Index(names), columns=pd.Index(names)),
        caption="Agreement beyond what row and column densities force: 0 is chance, 1 is containment.",
    )


def _across_draws(run: "Run", drawn: dict[str, list[np.ndarray]]) -> None:
    """Noise of the calibration, per method; between methods, the interval over draws."""
    for method, draws in drawn.items():
        pairs = [overlap(a, b) for a, b in combinations(draws, 2)]
        run.claim(
            f"{method}/jaccard_between_calibrations",
            float(np.mean([p.jaccard for p in pairs])),
            n=len(draws),
            null=float(np.mean([p.expected_jaccard for p in pairs])),
            note="null: independent masks with these margins",
        )
        run.claim(
            f"{method}/decided_by_data",
            decided_by_data(draws),
            n=len(draws),
            null=_agree_by_chance(draws),
            note="share of weights on which all calibration sets agree",
        )
    for a, b in combinations(drawn, 2):
        pairs = [overlap(x, y) for x, y in zip(drawn[a], drawn[b], strict=True)]
        mean, low, high = student([p.jaccard for p in pairs])
        run.claim(
            f"{a}~{b}/jaccard",
            mean,
            low=low,
            high=high,
            n=len(pairs),
            null=float(np.mean([p.expected_jaccard for p in pairs])),
            note=f"kappa beyond margins {np.mean([p.kappa for p in pairs]):.3f}",
        )


def _agree_by_chance(draws: list[np.ndarray]) -> float:
    """Independent masks of the same density: all keep, or all prune."""
    kept = np.array([keep.mean() for keep in draws])
    return float(kept.prod() + (1 - kept).prod())


def _verdict(run: "Run", drawn: dict[str, list[np.ndarray]], methods: list[str]) -> None:
    noise = {m: float(np.mean([overlap(a, b).kappa for a, b in combinations(drawn[m], 2)])) for m in methods}
    cross = {(a, b): overlap(drawn[a][0], drawn[b][0]).kappa for a, b in combinations(methods, 2)}
    near, far = max(cross, key=lambda pair: cross[pair]), min(cross, key=lambda pair: cross[pair])
    run.verdict(
        f"Beyond densities, {near[0]} and {near[1]} agree most (kappa {cross[near]:.2f}) and {far[0]} and {far[1]} least "
        f"({cross[far]:.2f}). Two calibration sets of one method agree at kappa "
        + ", ".join(f"{m} {value:.2f}" for m, value in noise.items())
        + "."
    )
