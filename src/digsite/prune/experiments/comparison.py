"""mask-comparison: do methods, calibration sets and sparsities choose the same weights, beyond what densities force?"""

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from digsite.base.intervals import seed_interval
from digsite.figures import heatmap
from digsite.prune.config import ComparisonConfig
from digsite.prune.core.matrix import method_named
from digsite.prune.experiments import masks
from digsite.prune.judge.comparison import decided_by_data, overlap, per_feature
from digsite.record.verdict import cite

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


MARGINS = "independent masks with these densities"
FORCED = "agreement that densities force"


def _across_draws(run: "Run", drawn: dict[str, list[np.ndarray]]) -> None:
    """Noise of the calibration, per method; between methods, the interval over draws."""
    for method, draws in drawn.items():
        pairs, n = [overlap(a, b) for a, b in combinations(draws, 2)], len(draws)
        by_chance = float(np.mean([p.expected_jaccard for p in pairs]))
        title = f"Overlap of {method} masks from two calibration sets"
        jaccard = float(np.mean([p.jaccard for p in pairs]))
        name = f"{method}/jaccard_between_calibrations"
        run.claim(
            name, jaccard, n=n, null=by_chance, null_is=MARGINS, kind="share", better="higher", title=title
        )
        title = f"Weights on which all calibration sets agree, {method}"
        agreed, beside = decided_by_data(draws), {"null": _agree_by_chance(draws), "null_is": MARGINS}
        run.claim(f"{method}/decided_by_data", agreed, n=n, kind="share", title=title, **beside)
        title = f"Agreement of {method} with itself on another calibration set"
        kappa = float(np.mean([p.kappa for p in pairs]))
        name = f"{method}/kappa_between_calibrations"
        run.claim(
            name, kappa, n=n, null=0.0, null_is=FORCED, kind="correlation", better="higher", title=title
        )
    for a, b in combinations(drawn, 2):
        pairs = [overlap(x, y) for x, y in zip(drawn[a], drawn[b], strict=True)]
        over = seed_interval([p.jaccard for p in pairs], "median")
        by_chance = float(np.mean([p.expected_jaccard for p in pairs]))
        title = f"Overlap of {a} and {b}"
        run.claim(
            f"{a}~{b}/jaccard", interval=over, kind="share", null=by_chance, null_is=MARGINS, title=title
        )
        over = seed_interval([p.kappa for p in pairs], "correlation")
        title = f"Agreement of {a} and {b} beyond densities"
        run.claim(f"{a}~{b}/kappa", interval=over, kind="correlation", null=0.0, null_is=FORCED, title=title)


def _agree_by_chance(draws: list[np.ndarray]) -> float:
    """Independent masks of the same density: all keep, or all prune."""
    kept = np.array([keep.mean() for keep in draws])
    return float(kept.prod() + (1 - kept).prod())


def _verdict(run: "Run", drawn: dict[str, list[np.ndarray]], methods: list[str]) -> None:
    def kappa(a: str, b: str) -> float:
        pairs = [overlap(x, y) for x, y in zip(drawn[a], drawn[b], strict=True)]
        return seed_interval([p.kappa for p in pairs], "correlation").value

    cross = {(a, b): kappa(a, b) for a, b in combinations(methods, 2)}
    near, far = max(cross, key=lambda pair: cross[pair]), min(cross, key=lambda pair: cross[pair])
    noise = ", ".join(f"{m} {cite(f'{m}/kappa_between_calibrations', style='.2f')}" for m in methods)
    ids = {pair: f"{pair[0]}~{pair[1]}/kappa" for pair in cross}
    run.headline(list(dict.fromkeys([ids[near], ids[far]])), hero="kappa")
    run.verdict(
        f"Beyond densities, {near[0]} and {near[1]} agree most (kappa {cite(ids[near], style='.2f')}) and {far[0]} and "
        f"{far[1]} least ({cite(ids[far], style='.2f')}). Two calibration sets of one method agree at kappa {noise}."
    )
