"""mask-clusters-single and mask-clusters-repeat: neighborhoods of one or of N features, every distance and metric."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from digsite.base import families
from digsite.base.intervals import seed_interval
from digsite.figures import curves
from digsite.prune.config import OneMask, RepeatConfig, SingleConfig
from digsite.prune.core.clusters import (
    FeatureClusters,
    Neighborhood,
    cluster_distances,
    find_neighborhood,
    summarize_distances,
)
from digsite.prune.core.packed import PackedMask, orient_features, pack
from digsite.prune.experiments import masks
from digsite.prune.experiments.clusters import claim_densities, embed_neighborhood
from digsite.prune.experiments.masks import test_table
from digsite.prune.figures import masks as figures
from digsite.prune.judge import published
from digsite.prune.judge.attribution import measure_densities
from digsite.prune.judge.nulls import ObservedMask
from digsite.prune.judge.verdict import (
    NULLS,
    NullTest,
    claim_share,
    claim_tests,
    judge_all,
    judge_statistic,
    say_mask,
)

if TYPE_CHECKING:
    from digsite.worker.run import Run

METRIC_WORDS = {
    "separation": "Distance between over within clusters",
    "silhouette": "Silhouette",
    "nearest": "Distance to the nearest feature",
    "farthest": "Distance to the farthest feature",
}
METRICS = {"separation": "upper", "silhouette": "upper", "nearest": "lower", "farthest": "lower"}


def study_single(config: SingleConfig, run: "Run") -> None:
    """One feature: all its distances, its clusters, and what the nulls give for the same feature."""
    name, keep, origin = masks.one_mask(config, run)
    features = orient_features(keep, config.axis)
    center = config.feature
    if center is None:
        center = int(run.rng("feature").integers(features.n_features))
    ball, clusters = _cluster_around(features, center, config.n_features, config.n_clusters, config.seed)
    _tell_neighborhood(run, center, ball, clusters)
    run.table(
        "distances",
        {
            "feature": ball.members[1:],
            "hamming": ball.to_center[1:],
            "share": ball.to_center[1:] / features.n_bits,
            "cluster": clusters.labels[1:],
        },
    )
    run.view("distances", kind="table", source="tables/distances.csv")
    sheet = figures.cluster_sheet(
        features.take(ball.members).unpack(),
        clusters,
        embed_neighborhood(ball, run.derive("t-sne")),
        ball.distances,
        f"feature {center}, k = {config.n_clusters}",
    )
    run.figure(
        "clusters", sheet, caption=f"The neighborhood of feature {center} in {config.n_clusters} clusters."
    )
    seen = _list_metrics(ball, clusters, features.n_bits)
    tests = _against_nulls(
        config, run, [center], keep, origin, {name: [value] for name, value in seen.items()}
    )
    _conclude_neighborhood(
        config, run, name, keep, tests, {metric: (value, None, None) for metric, value in seen.items()}, 1
    )
    _claim_published(run, features, ball, config.n_clusters, config.seed)


def study_repeat(config: RepeatConfig, run: "Run") -> None:
    """N random features: mean and standard deviation of every metric, as the original's JSON has them."""
    name, keep, origin = masks.one_mask(config, run)
    features = orient_features(keep, config.axis)
    centers = run.rng("features").integers(features.n_features, size=config.n_executions).tolist()
    rows = []
    for position, center in enumerate(centers):
        ball, clusters = _cluster_around(
            features, center, config.n_features, config.n_clusters, config.seed + position
        )
        rows.append(_original_row(center, ball, clusters, features))
        run.let_signals_in(position + 1)
    frame = pd.DataFrame(rows)
    run.table("executions", frame)
    run.view("executions", kind="table", source="tables/executions.csv")
    _write_summary(config, run, name, keep, frame)
    seen = {
        "separation": frame["separation_ratio"],
        "silhouette": frame["silhouette"],
        "nearest": frame["hamming_min"] / features.n_bits,
        "farthest": frame["hamming_max"] / features.n_bits,
    }
    tests = _against_nulls(config, run, centers, keep, origin, {k: v.tolist() for k, v in seen.items()})
    over = {metric: seed_interval(values.tolist(), "median") for metric, values in seen.items()}
    intervals = {metric: (float(np.mean(seen[metric])), at.low, at.high) for metric, at in over.items()}
    run.figure(
        "spread", _draw_spread(seen), frame, caption="Every metric over the reference features, by its rank."
    )
    _conclude_neighborhood(config, run, name, keep, tests, intervals, config.n_executions)
    run.claim(
        "ratio_as_published",
        float(np.mean(frame["ratio_as_published"])),
        kind="ratio",
        title="The published ratio",
        note="between centers over within, Euclidean: cluster sizes alone move it, so it is not evidence",
    )


def _draw_spread(seen: dict[str, Any]) -> Any:
    """Sorted values of each metric: how much one neighborhood differs from the next."""
    lines = {
        METRIC_WORDS[name]: (list(range(1, len(values) + 1)), sorted(values)) for name, values in seen.items()
    }
    return curves(lines, x="reference feature, sorted", y="value")


def _cluster_around(
    features: PackedMask, center: int, size: int, k: int, seed: int
) -> tuple[Neighborhood, FeatureClusters]:
    """The original takes the nearest `size` features and the feature itself."""
    ball = find_neighborhood(features, center, size + 1)
    return ball, cluster_distances(ball.distances, k, seed=seed)


def _list_metrics(ball: Neighborhood, clusters: FeatureClusters, n_bits: int) -> dict[str, float]:
    """Of one neighborhood, distances as shares of the positions."""
    return {
        "separation": clusters.metrics.separation,
        "silhouette": clusters.metrics.silhouette,
        "nearest": float(ball.to_center[1] / n_bits),
        "farthest": float(ball.to_center[-1] / n_bits),
    }


def _against_nulls(
    config: SingleConfig | RepeatConfig,
    run: "Run",
    centers: list[int],
    keep: np.ndarray,
    origin: Any,
    seen: dict[str, list[float]],
) -> list[NullTest]:
    """The mean of every metric over the same features in every null mask."""
    source = (
        masks.as_observed(origin, config.nulls.trades)
        if origin
        else ObservedMask(pack(keep), trades=config.nulls.trades)
    )
    wanted = ["coin_flips", "margins"] + (["reprune"] if config.nulls.reprune and origin else [])
    tests = []
    for null in wanted:
        drawn = run.once(f"null-{null}", lambda null=null: _draw_null(config, run, null, source, centers))
        tests += [
            judge_statistic(metric, null, config.axis, float(np.mean(seen[metric])), drawn[metric], tail)
            for metric, tail in METRICS.items()
        ]
    return tests


def _draw_null(
    config: SingleConfig | RepeatConfig, run: "Run", null: str, source: ObservedMask, centers: list[int]
) -> dict[str, list[float]]:
    """Means over the centers, one for each drawn mask."""
    means: dict[str, list[float]] = {metric: [] for metric in METRICS}
    run.stage(f"null {null}", config.nulls.draws)
    drawn = families.scan_member(NULLS, null)().draw_masks(
        source, config.nulls.draws, run.derive(f"null-{null}")
    )
    for i, draw in enumerate(drawn):
        features = orient_features(draw, config.axis)
        rows = []
        for position, center in enumerate(centers):
            ball, clusters = _cluster_around(
                features, center, config.n_features, config.n_clusters, config.seed + position
            )
            rows.append(_list_metrics(ball, clusters, features.n_bits))
        for metric in METRICS:
            means[metric].append(float(np.mean([row[metric] for row in rows])))
        run.let_signals_in(i + 1)
    return means


def _conclude_neighborhood(
    config: OneMask,
    run: "Run",
    name: str,
    keep: np.ndarray,
    tests: list[NullTest],
    seen: dict[str, tuple],
    n: int,
) -> None:
    """Each metric beside its null, and the verdict."""
    judged = judge_all(tests)
    run.table("tests", test_table(judged))
    run.view("tests", kind="table", source="tables/tests.csv")
    for judged_test in judged:
        if judged_test.against_densities:
            value, low, high = seen[judged_test.test.statistic]
            run.claim(
                judged_test.test.statistic,
                value,
                low=low,
                high=high,
                n=n,
                null=judged_test.test.null_mean,
                p=judged_test.q,
                null_is="masks with the same densities",
                title=f"{METRIC_WORDS[judged_test.test.statistic]} of the neighborhood",
                note="interval over reference features, which says nothing about the mask" if n > 1 else "",
            )
    claim_tests(run, judged, asked="separation")
    claim_share(
        run,
        "tests/found",
        [judged_test for judged_test in judged if judged_test.against_densities],
        "Tests that find structure beyond densities",
    )
    claim_densities(run, keep, measure_densities(keep))
    masks.store_mask(run, name, keep, config)
    run.headline([f"separation/{config.axis}/margins", "tests/found"])
    run.verdict(say_mask(name, judged))


def _claim_published(run: "Run", features: PackedMask, ball: Neighborhood, k: int, seed: int) -> None:
    """The original's ratio is kept for comparison, without a null, and named for what it is."""
    ratio = published.centers_ratio(features.take(ball.members).unpack(), k, seed)
    run.claim("ratio_as_published", ratio, note="between centers over within, Euclidean: not evidence")


def _tell_neighborhood(run: "Run", center: int, ball: Neighborhood, clusters: FeatureClusters) -> None:
    """The original's console tables."""
    metrics = clusters.metrics
    run.say(
        f"feature {center}: {len(ball.members) - 1} nearest, Hamming {ball.to_center[1]} to {ball.to_center[-1]}"
    )
    for start in range(1, len(ball.members), 8):
        pairs = zip(ball.members[start : start + 8], ball.to_center[start : start + 8])
        run.say("  " + "  ".join(f"{member:>5}: {distance:<5}" for member, distance in pairs))
    run.say(f"cluster sizes {metrics.sizes}, {metrics.n_singletons} singletons")
    rows = summarize_distances(ball, clusters.labels)
    for name, row in rows.items():
        run.say(
            f"{name:>16}  {row['mean']:.1f} +- {row['sd']:.1f}, {row['least']:.0f} to {row['most']:.0f} "
            f"({row['pairs']:.0f} pairs)"
        )
    columns = {key: [row[key] for row in rows.values()] for key in rows["to the feature"]}
    run.table("distance_summary", {"distances": list(rows), **columns})
    run.view("distance_summary", kind="table", source="tables/distance_summary.csv")
    run.say(
        f"ratio {metrics.separation:.3f}, silhouette {metrics.silhouette:.3f}, inertia {clusters.inertia:.1f}"
    )
    run.say(f"k-means: {clusters.convergence}")


def _original_row(
    center: int, ball: Neighborhood, clusters: FeatureClusters, features: PackedMask
) -> dict[str, Any]:
    """The original's names for the same numbers."""
    distances, metrics = ball.to_center[1:], clusters.metrics
    return {
        "main_feature_idx": int(center),
        "hamming_min": int(distances.min()),
        "hamming_max": int(distances.max()),
        "hamming_mean": float(distances.mean()),
        "hamming_std": float(distances.std()),
        "hamming_range": int(distances.max() - distances.min()),
        "mean_within_cluster": metrics.within,
        "mean_between_cluster": metrics.between,
        "separation_ratio": metrics.separation,
        "silhouette": metrics.silhouette,
        "total_inertia": clusters.inertia,
        "cluster_balance_std": float(np.std(metrics.sizes)),
        "n_singletons": metrics.n_singletons,
        "ratio_as_published": published.centers_ratio(
            features.take(ball.members).unpack(), len(metrics.sizes), int(center)
        ),
        "cluster_sizes": " ".join(map(str, metrics.sizes)),
    }


def _write_summary(
    config: RepeatConfig, run: "Run", name: str, keep: np.ndarray, frame: pd.DataFrame
) -> None:
    """The original's file, for whoever reads it with their own scripts."""
    numbers = frame.drop(columns=["main_feature_idx", "cluster_sizes"])
    aggregated = {
        f"{column}_{name}": float(average(numbers[column]))
        for column in numbers
        for name, average in (("mean", np.mean), ("std", np.std))
    }
    individual = [
        {**row, "cluster_sizes": [int(s) for s in row["cluster_sizes"].split()]}
        for row in frame.to_dict("records")
    ]
    run.json(
        "repeat_summary",
        {
            "matrix_name": name,
            "matrix_shape": list(keep.shape),
            "n_executions": config.n_executions,
            "n_features": config.n_features,
            "n_clusters": config.n_clusters,
            "seed": config.seed,
            "aggregated_metrics": aggregated,
            "individual_metrics": individual,
        },
    )
    for column in numbers:
        run.say(f"{column:>22}  {aggregated[column + '_mean']:12.4f} +- {aggregated[column + '_std']:.4f}")
