"""mask-comparison and mask-attribution: do masks agree beyond their densities, and what in a matrix explains its mask?"""

from collections.abc import Sequence
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from digsite.base.intervals import seed_interval
from digsite.figures import heatmap
from digsite.prune.config import AttributionConfig, ComparisonConfig, Nulls
from digsite.prune.core import layers
from digsite.prune.core.matrix import method_named
from digsite.prune.core.packed import pack
from digsite.prune.experiments import masks
from digsite.prune.figures.masks import mask_pair, stacked_shares
from digsite.prune.judge.attribution import attribute_mask
from digsite.prune.judge.comparison import decided_by_data, keep_probability, measure_overlap, per_feature
from digsite.prune.judge.nulls import ObservedMask
from digsite.prune.judge.nulls.random_masks import Margins
from digsite.prune.judge.verdict import NullTest, claim_share, judge_all, null_test, sharpen_tests
from digsite.prune.subjects.maskstore import packed_tensors
from digsite.record.verdict import cite

if TYPE_CHECKING:
    from digsite.worker.run import Run


def study_comparison(config: ComparisonConfig, run: "Run") -> None:
    """Masks of several methods, calibrations and sparsities, every pair; agreement between calibrations is the
    yardstick.
    """
    methods = [method_named(name) for name in config.methods]
    drawn = {method: _draw_masks(config, run, method) for method in methods}
    everything = {method: draws[0] for method, draws in drawn.items()}
    for share in config.sparsities:
        other = config.model_copy(update={"sparsity": share})
        everything[f"{methods[0]} at {share:.0%}"] = run.once(
            f"sparsity-{share}", lambda other=other: _mask_at_sparsity(other, run, methods[0])
        )["keep"]
    _pair_table(config, run, everything)
    _across_draws(run, drawn)
    far = _conclude_comparison(run, drawn, methods)
    _show_pair(run, drawn, far)


def _draw_masks(config: ComparisonConfig, run: "Run", method: str) -> list[np.ndarray]:
    """The same map pruned on several samples of the text."""
    wanted = [(config.layer, config.component)]
    return [
        masks.make_masks(config, run, wanted, method=method, draw=d)[0].keep.numpy()
        for d in range(config.resamples)
    ]


def _mask_at_sparsity(config: ComparisonConfig, run: "Run", method: str) -> dict:
    """Kept by the run, so it is plain data."""
    from digsite.prune.subjects import language

    subject = masks.fresh_language(config, run)
    tokens = language.calibration_tokens(subject, config)
    (masked,) = language.mask_maps(
        subject, language.recipe_of(config, method), tokens, [(config.layer, config.component)]
    )
    return {"keep": masked.keep.numpy()}


def _pair_table(config: ComparisonConfig, run: "Run", everything: dict[str, np.ndarray]) -> None:
    """Kappa of every pair, with what the densities alone would force."""
    names, rows = list(everything), []
    kappa = np.eye(len(names))
    for (i, a), (j, b) in combinations(enumerate(names), 2):
        overlap = measure_overlap(everything[a], everything[b])
        features = per_feature(everything[a], everything[b], config.axis)
        kappa[i, j] = kappa[j, i] = overlap.kappa
        rows.append(
            {
                "a": a,
                "b": b,
                **vars(overlap),
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
        pairs, n = [measure_overlap(a, b) for a, b in combinations(draws, 2)], len(draws)
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
        pairs = [measure_overlap(x, y) for x, y in zip(drawn[a], drawn[b], strict=True)]
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


def _conclude_comparison(
    run: "Run", drawn: dict[str, list[np.ndarray]], methods: list[str]
) -> tuple[str, str]:
    """The nearest and the farthest pair of methods, beside the noise of calibration; gives back the farthest."""

    def kappa(a: str, b: str) -> float:
        pairs = [measure_overlap(x, y) for x, y in zip(drawn[a], drawn[b], strict=True)]
        return seed_interval([p.kappa for p in pairs], "correlation").value

    cross = {(a, b): kappa(a, b) for a, b in combinations(methods, 2)}
    near, far = max(cross, key=lambda pair: cross[pair]), min(cross, key=lambda pair: cross[pair])
    noise = ", ".join(f"{m} {cite(f'{m}/kappa_between_calibrations', style='.2f')}" for m in methods)
    ids = {pair: f"{pair[0]}~{pair[1]}/kappa" for pair in cross}
    run.headline(list(dict.fromkeys([ids[near], ids[far]])), hero="kappa")
    least = f"agree most (kappa {cite(ids[near], style='.2f')}) and {far[0]} and {far[1]} least ({cite(ids[far], style='.2f')})"
    agree = f"agree at kappa {cite(ids[near], style='.2f')}" if near == far else least
    run.verdict(
        f"Beyond densities, {near[0]} and {near[1]} {agree}. Two calibration sets of one method agree at kappa {noise}."
    )
    return far


def _show_pair(run: "Run", drawn: dict[str, list[np.ndarray]], pair: tuple[str, str]) -> None:
    """Two masks side by side, what only one of them keeps, and the same against a draw with the other's margins."""
    a, b = pair
    trades = Nulls.model_fields["trades"].default

    def differ_by_chance(position: int) -> tuple[np.ndarray, float]:
        source = ObservedMask(pack(drawn[b][position]), trades=trades)
        (null,) = Margins().draw_masks(source, 1, run.derive("pair", position))
        return null.unpack(), float((drawn[a][position] != null.unpack()).mean())

    nulls = [differ_by_chance(position) for position in range(len(drawn[a]))]
    seen = [float((first != other).mean()) for first, other in zip(drawn[a], drawn[b], strict=True)]
    run.claim(
        f"{a}~{b}/differ",
        interval=seed_interval(seen, "median"),
        kind="share",
        null=float(np.median([share for _, share in nulls])),
        null_is=f"{a} beside masks with the margins of {b}",
        title=f"Weights that only one of {a} and {b} keeps",
    )
    shown = {a: drawn[a][0], b: drawn[b][0], "null": nulls[0][0]}
    titles = (a, b, f"{a} − {b}", f"{a} − null draw")
    tensors, metadata = packed_tensors(shown, {"pair": list(pair)})
    run.tensors("pair", tensors, metadata)
    caption = (
        f"Red is kept by {a} alone, blue by the other alone. The null draw has as many kept weights in every row and column "
        f"as {b}: where the last two pictures are alike, the masks share densities and nothing else."
    )
    sources = [{"source": f"#{a}"}, {"source": f"#{b}"}, {"source": f"#{a}", "minus": f"#{b}"}]
    panels = [*sources, {"source": f"#{a}", "minus": "#null"}]
    run.view(
        "pair",
        kind="matrix",
        source=f"artifacts/pair.safetensors#{a}",
        bits=shown[a].shape[1],
        panels=[{"title": title, **panel} for title, panel in zip(titles, panels, strict=True)],
        x_label="input",
        y_label="output",
        title=f"Masks of {a} and {b} side by side",
        caption=caption,
    )
    run.figure("pair", mask_pair(list(shown.values()), titles), caption=caption)


# mask-attribution: which part of a mask is the output, the input, the weight's size, and what is left to explain?

WORDS = {
    "rows": "output",
    "columns": "input",
    "magnitude": "size of the weight",
    "joint": "size and input together",
    "residual": "unexplained rest",
}
SHARES = ("rows", "columns", "magnitude", "joint", "residual")


def study_attribution(config: AttributionConfig, run: "Run") -> None:
    """Shares of a mask's variance that densities, magnitude and input norms explain, map by map."""
    rows, trials = [], []
    for method in map(method_named, config.methods):
        subject = layers.list_blocks(masks.fresh_language(config, run).model)
        wanted = [
            (config.layer, layers.component_of(masked_map.name))
            for masked_map in subject[min(config.layer, len(subject) - 1)].maps
        ]
        draws = [
            masks.make_masks(config, run, wanted, method=method, draw=d) for d in range(config.resamples)
        ]
        for position, masked_map in enumerate(draws[0]):
            run.stage(f"{method} {masked_map.name}", len(wanted))
            keep = masked_map.keep.numpy()
            again = [draw[position].keep.numpy() for draw in draws]
            shares = vars(attribute_mask(keep, masked_map.weight.numpy()))
            shuffled = np.random.default_rng(run.derive("shuffle", position)).permuted(
                masked_map.weight.numpy(), axis=1
            )
            rows.append(
                {
                    "method": method,
                    "component": layers.component_of(masked_map.name),
                    **shares,
                    "magnitude, shuffled": attribute_mask(keep, shuffled).magnitude,
                    "decided by data": decided_by_data(again),
                    "undecided": _share_undecided(again),
                }
            )
            source = masks.as_observed(masked_map, config.nulls.trades)
            seed = run.derive(f"top-{method}", position)
            trials.append(partial(null_test, keep, statistics=["top_singular"], seed=seed, observed=source))
            run.let_signals_in(position + 1)
    _conclude_attribution(run, pd.DataFrame(rows), judge_all(_test_masks(config, trials)))


def _test_masks(config: AttributionConfig, trials: list[partial[list[NullTest]]]) -> list[NullTest]:
    """Few draws for all, many for those that are beyond nearly all of the few."""

    def at(wanted: Sequence[int], draws: int) -> list[NullTest]:
        return [trials[i](draws=draws)[0] for i in wanted]

    return sharpen_tests(at(range(len(trials)), config.nulls.draws), at, config.nulls.most_draws)


def _share_undecided(draws: list[np.ndarray]) -> float:
    """Share of weights that at least a quarter of the calibration sets would keep and a quarter would not."""
    probability = keep_probability(draws)
    return float(((probability >= 0.25) & (probability <= 0.75)).mean())


def _conclude_attribution(run: "Run", frame: pd.DataFrame, judged: list) -> None:
    """Medians over maps, and how many are beyond their null after FDR."""
    frame["top singular z"] = [judged_test.test.z for judged_test in judged]
    frame["q"] = [judged_test.q for judged_test in judged]
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
