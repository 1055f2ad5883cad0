"""mask-attribution: which part of a mask is the output, the input, the weight's size, and what is left to explain?"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from digsite.base.intervals import seed_interval
from digsite.prune.config import AttributionConfig
from digsite.prune.core import layers
from digsite.prune.core.matrix import method_named
from digsite.prune.experiments import masks
from digsite.prune.figures.masks import stacked_shares
from digsite.prune.judge.attribution import attribute
from digsite.prune.judge.comparison import decided_by_data, keep_probability
from digsite.prune.judge.sharpen import sharpened
from digsite.prune.judge.significance import Test, null_test
from digsite.prune.judge.verdict import claim_share, judge_all
from digsite.record.verdict import cite

if TYPE_CHECKING:
    from digsite.worker.run import Run

WORDS = {
    "rows": "output",
    "columns": "input",
    "magnitude": "size of the weight",
    "joint": "size and input together",
    "residual": "unexplained rest",
}
SHARES = ("rows", "columns", "magnitude", "joint", "residual")


def attribution(config: AttributionConfig, run: "Run") -> None:
    rows, trials = [], []
    for method in map(method_named, config.methods):
        subject = layers.blocks(masks.language(config, run).model)
        wanted = [
            (config.layer, layers.component(one.name))
            for one in subject[min(config.layer, len(subject) - 1)].maps
        ]
        draws = [masks.masked(config, run, wanted, method=method, draw=d) for d in range(config.resamples)]
        for place, one in enumerate(draws[0]):
            run.stage(f"{method} {one.name}", len(wanted))
            keep = one.keep.numpy()
            again = [draw[place].keep.numpy() for draw in draws]
            shares = vars(attribute(keep, one.weight.numpy()))
            shuffled = np.random.default_rng(run.derive("shuffle", place)).permuted(
                one.weight.numpy(), axis=1
            )
            rows.append(
                {
                    "method": method,
                    "component": layers.component(one.name),
                    **shares,
                    "magnitude, shuffled": attribute(keep, shuffled).magnitude,
                    "decided by data": decided_by_data(again),
                    "undecided": _undecided(again),
                }
            )
            source = masks.observed(one, config.nulls.trades)
            seed = run.derive(f"top-{method}", place)
            trials.append(partial(null_test, keep, statistics=["top_singular"], seed=seed, observed=source))
            run.let_signals_in(place + 1)
    _conclude(run, pd.DataFrame(rows), judge_all(_tests(config, trials)))


def _tests(config: AttributionConfig, trials: list[partial[list[Test]]]) -> list[Test]:
    def at(wanted: Sequence[int], draws: int) -> list[Test]:
        return [trials[i](draws=draws)[0] for i in wanted]

    return sharpened(at(range(len(trials)), config.nulls.draws), at, config.nulls.most_draws)


def _undecided(draws: list[np.ndarray]) -> float:
    """Share of weights that at least a quarter of the calibration sets would keep and a quarter would not."""
    probability = keep_probability(draws)
    return float(((probability >= 0.25) & (probability <= 0.75)).mean())


def _conclude(run: "Run", frame: pd.DataFrame, judged: list) -> None:
    frame["top singular z"] = [one.test.z for one in judged]
    frame["q"] = [one.q for one in judged]
    run.table("attribution", frame)
    run.view("attribution", kind="table", source="tables/attribution.csv")
    means = frame.groupby("method", sort=False)[[*SHARES, "magnitude, shuffled", "decided by data"]].mean()
    for method in means.index:  # pyright: ignore[reportGeneralTypeIssues]
        part = frame[frame["method"] == method]
        for share in SHARES:
            over = seed_interval(part[share].tolist(), "median")
            shuffled = seed_interval(part["magnitude, shuffled"].tolist(), "median").value
            beside = (
                {"null": shuffled, "null_is": "weights shuffled inside rows"} if share == "magnitude" else {}
            )
            run.claim(
                f"{method}/{share}",
                float(part[share].mean()),  # pyright: ignore[reportArgumentType]
                interval=over,
                kind="share",
                **beside,
                title=f"Variance of a {method} mask that the {WORDS[share]} explains",
                note="over the layer's maps",
            )
        run.claim(
            f"{method}/decided_by_data",
            float(part["decided by data"].mean()),  # pyright: ignore[reportArgumentType]
            kind="share",
            title=f"Weights on which all calibration sets agree, {method}",
        )
    labels = [f"{row.method} {row.component}" for row in frame.itertuples()]
    run.figure(
        "shares",
        stacked_shares(labels, frame[list(SHARES)]),
        frame,
        caption="What explains each mask: outputs, inputs, the weight's size, size and input together, and the rest.",
    )
    parts = [
        f"{method}: "
        + ", ".join(f"{WORDS[share]} {cite(f'{method}/{share}', style='.0%')}" for share in SHARES)
        for method in means.index  # pyright: ignore[reportGeneralTypeIssues]
    ]
    claim_share(run, "masks/structured", judged, "Masks with structure that their densities do not make")
    run.headline([*(f"{method}/magnitude" for method in means.index), "masks/structured"], hero="shares")  # pyright: ignore[reportGeneralTypeIssues]
    run.verdict(
        "; ".join(parts) + f". Structure beyond densities in {cite('masks/structured', 'hits')} of "
        f"{cite('masks/structured', 'n')} masks."
    )
