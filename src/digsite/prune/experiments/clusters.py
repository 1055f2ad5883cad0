"""mask-clusters: neighborhoods of several features in k clusters, beside three null models."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.manifold import TSNE
from sklearn.metrics import adjusted_rand_score

from digsite.base import families
from digsite.base.intervals import seed_interval
from digsite.prune.config import ClustersConfig
from digsite.prune.core.clusters import Neighborhood, cluster_all, find_neighborhood, measure_separations
from digsite.prune.core.packed import PackedMask, orient_features, pack
from digsite.prune.experiments import masks
from digsite.prune.experiments.masks import claim_stability, test_table
from digsite.prune.figures import masks as figures
from digsite.prune.judge import published
from digsite.prune.judge.attribution import Densities, measure_densities
from digsite.prune.judge.nulls import ObservedMask
from digsite.prune.judge.verdict import (
    NULLS,
    JudgedTest,
    NullTest,
    claim_share,
    claim_tests,
    judge_all,
    judge_statistic,
    null_test,
    say_mask,
    sharpen_tests,
)
from digsite.prune.subjects.language import MaskedMap

if TYPE_CHECKING:
    from digsite.worker.run import Run


def study_clusters(config: ClustersConfig, run: "Run") -> None:
    """Neighborhoods of several features, their clusters, and three nulls for each; every k is a test of its
    own, and FDR is over all.
    """
    name, keep, origin = masks.one_mask(config, run)
    masks.store_mask(run, name, keep, config)
    centers = _draw_centers(config, run, keep)
    observed = _seen_again(config, run, keep, centers)
    drawn = _null_separations(config, run, keep, origin, centers)
    judged, ratios = _judge_clusters(config, run, keep, origin, observed, drawn)
    cells = _cluster_all(config, run, keep, centers)
    _summarize_clusters(config, run, cells, observed, drawn)
    _claim_clusters(config, run, keep, observed, drawn, ratios, cells)
    claim_tests(run, judged)
    claim_share(
        run,
        "tests/found",
        [judged_test for judged_test in judged if judged_test.against_densities],
        "Tests that find structure beyond densities",
    )
    claim_share(
        run,
        "clusters/tighter",
        ratios,
        "Numbers of clusters at which they are tighter than densities make them",
    )
    claim_stability(config, run, keep, centers)
    masks.copy_out(run, config.output_dir)
    run.headline(
        ["separation_excess/*", f"top_singular/{config.axis}/margins", "tests/found"], hero="separation"
    )
    run.verdict(say_mask(name, judged, ratios), on=["separation_ratio/*", "density/*"])


def _draw_centers(config: ClustersConfig, run: "Run", keep: np.ndarray) -> list[int]:
    """One reference feature per seed."""
    n_features = keep.shape[1] if config.axis == "columns" else keep.shape[0]
    return [int(run.rng("reference", seed).integers(n_features)) for seed in range(config.seeds)]


def _measure_ratios(config: ClustersConfig, features: PackedMask, centers: list[int]) -> np.ndarray:
    """Between-cluster over within-cluster distance, (centers, k): the statistic of the tests."""
    return measure_separations(
        features,
        centers,
        config.n_similar,
        config.k_values,
        method=config.clustering,
        n_init=config.n_init,
        seed=config.seed,
    )


def _seen_again(config: ClustersConfig, run: "Run", keep: np.ndarray, centers: list[int]) -> np.ndarray:
    """Ratios (resamples, centers, ks): the same features in masks from independent calibration sets."""

    def compute(draw: int) -> Callable[[], dict]:
        mask = keep if draw == 0 else masks.one_mask(config, run, draw)[1]
        return lambda: {"ratios": _measure_ratios(config, orient_features(mask, config.axis), centers)}

    draws = range(1 if config.masks else config.resamples)
    return np.stack([run.once(f"ratios-{draw}", compute(draw))["ratios"] for draw in draws])


def _null_separations(
    config: ClustersConfig, run: "Run", keep: np.ndarray, origin: MaskedMap | None, centers: list[int]
) -> dict[str, np.ndarray]:
    """Mean ratio over the same centers in every null mask: (draws, ks) per null."""
    members = families.scan_family(NULLS)
    wanted = ["coin_flips", "margins"] + (["reprune"] if config.nulls.reprune and origin else [])
    features = orient_features(keep, config.axis)
    along = ObservedMask(
        features, trades=config.nulls.trades
    )  # no draw has to be turned: its rows are the features

    def drawn(null: str) -> Iterator[PackedMask]:
        seed = run.derive("null", sorted(members).index(null))
        if members[null].PRUNES_AGAIN:
            assert origin is not None
            whole = members[null]().draw_masks(
                masks.as_observed(origin, config.nulls.trades), config.nulls.draws, seed
            )
            return (orient_features(draw, config.axis) for draw in whole)
        return members[null]().draw_masks(along, config.nulls.draws, seed)

    def compute(null: str) -> Callable[[], dict]:
        def inner() -> dict:
            run.stage(f"null {null}", config.nulls.draws)
            rows = []
            for i, draw in enumerate(drawn(null)):
                rows.append(np.nanmean(_measure_ratios(config, draw, centers), axis=0))
                run.let_signals_in(i + 1)
            return {"means": np.stack(rows)}

        return inner

    return {null: run.once(f"null-{null}", compute(null))["means"] for null in wanted}


def _judge_clusters(
    config: ClustersConfig,
    run: "Run",
    keep: np.ndarray,
    origin: MaskedMap | None,
    observed: np.ndarray,
    drawn: dict[str, np.ndarray],
) -> tuple[list[JudgedTest], list[JudgedTest]]:
    """Global tests on both axes and the ratios, with one false discovery rate over all of them."""
    source = (
        masks.as_observed(origin, config.nulls.trades)
        if origin
        else ObservedMask(pack(keep), trades=config.nulls.trades)
    )
    tests = _global_tests(config, run, keep, source, list(drawn))
    seen = np.nanmean(observed[0], axis=0)
    for position, k in enumerate(config.k_values):
        for null, means in drawn.items():
            tests.append(
                judge_statistic(
                    f"separation/k={k}", null, config.axis, seen[position], means[:, position], "upper"
                )
            )
    judged = judge_all(tests)
    run.table("tests", test_table(judged))
    run.view("tests", kind="table", source="tables/tests.csv")
    separate = [judged_test for judged_test in judged if judged_test.test.statistic.startswith("separation/")]
    return (
        [judged_test for judged_test in judged if judged_test not in separate],
        [judged_test for judged_test in separate if judged_test.against_densities],
    )


def _global_tests(
    config: ClustersConfig, run: "Run", keep: np.ndarray, source: ObservedMask, nulls: list[str]
) -> list[NullTest]:
    """Every statistic of both axes against every null, with more draws where these settle nothing."""

    def trial(null: str, axis: str, draws: int) -> list[NullTest]:
        run.stage(f"tests on {axis} against {draws} draws of {null}")
        seed = run.derive(f"test-{null}-{axis}")
        return null_test(keep, null, axis, draws=draws, seed=seed, observed=source)

    def again(wanted: list[int], draws: int) -> list[NullTest]:
        of = [(tests[i].null, tests[i].axis) for i in wanted]
        made = {key: {test.statistic: test for test in trial(*key, draws)} for key in dict.fromkeys(of)}
        return [made[key][tests[i].statistic] for key, i in zip(of, wanted, strict=True)]

    tests = [
        t for null in nulls for axis in ("rows", "columns") for t in trial(null, axis, config.nulls.draws)
    ]
    return sharpen_tests(tests, again, config.nulls.most_draws)


def _cluster_all(config: ClustersConfig, run: "Run", keep: np.ndarray, centers: list[int]) -> pd.DataFrame:
    """One line per (seed, k), with its pictures."""
    features, rows = orient_features(keep, config.axis), []
    run.stage("clusters", len(centers))
    for seed, center in enumerate(centers):
        rows += run.once(f"cells-{seed}", lambda s=seed, c=center: _cells_of(config, run, features, s, c))
        run.let_signals_in(seed + 1)
    frame = pd.DataFrame(rows)
    run.table("clusters", frame)
    run.view("clusters", kind="table", source="tables/clusters.csv")
    return frame


def _cells_of(config: ClustersConfig, run: "Run", features: PackedMask, seed: int, center: int) -> list[dict]:
    """Rows of one neighborhood, a picture each where pictures are asked for."""
    ball = find_neighborhood(features, center, config.n_similar)
    bits, rows = features.take(ball.members).unpack(), []
    points = embed_neighborhood(ball, run.derive("t-sne", seed)) if config.pictures else None
    clusterings = cluster_all(
        ball, config.k_values, config.clustering, config.n_init, config.seed + 1000 * seed
    )
    for k, clustering in clusterings.items():
        rows.append(_cluster_row(seed, center, k, clustering, bits))
        if points is not None:
            run.figure(
                f"seed{seed}_k{k}",
                figures.cluster_sheet(bits, clustering, points, ball.distances, f"feature {center}, k = {k}"),
                caption=f"Seed {seed}: the neighborhood of feature {center} in {k} clusters.",
            )
    return rows


def _cluster_row(seed: int, center: int, k: int, clusters, bits: np.ndarray) -> dict:  # pyright: ignore[reportMissingParameterType]
    """One cell of the table; agreement between starts of k-means says whether the clusters are there at all."""
    metrics = clusters.metrics
    again = clusters.starts if clusters.starts is not None else []
    agreement = [adjusted_rand_score(clusters.labels, other) for other in again]
    return {
        "seed": seed,
        "feature": center,
        "k": k,
        "separation": metrics.separation,
        "within": metrics.within,
        "between": metrics.between,
        "singletons": metrics.n_singletons,
        "silhouette": metrics.silhouette,
        "ari over starts": float(np.mean(agreement)) if agreement else float("nan"),
        "sizes": " ".join(map(str, sorted(metrics.sizes, reverse=True))),
        "inertia": clusters.inertia,
        "ratio as published": published.measure_as_published(bits, clusters.labels, seed).ratio,
    }


def embed_neighborhood(ball: Neighborhood, seed: int) -> np.ndarray:
    """t-SNE of the distances (n, 2), for the eye: nothing is measured on it."""
    n = len(ball.members)
    t_sne = TSNE(
        metric="precomputed",
        init="random",
        perplexity=min(30, (n - 1) / 3),
        random_state=seed % 2**32,
        max_iter=500,
    )
    return t_sne.fit_transform(ball.distances.astype(np.float32))


def _summarize_clusters(
    config: ClustersConfig,
    run: "Run",
    cells: pd.DataFrame,
    observed: np.ndarray,
    drawn: dict[str, np.ndarray],
) -> None:
    """The summary pictures and the original's metrics_summary.json."""
    by_k = cells.groupby("k")[["within", "between", "separation"]]
    spread = by_k.agg(["mean", "std", "min", "max"])
    mean = by_k.mean().loc[config.k_values]
    per_draw = np.nanmean(observed, axis=1)  # (calibration sets, ks)
    spread_of = (per_draw[0].tolist(), per_draw.min(axis=0).tolist(), per_draw.max(axis=0).tolist())
    picture = figures.separation_curves(config.k_values, spread_of, drawn, mean["within"], mean["between"])
    run.figure(
        "separation",
        picture,
        mean.reset_index(),
        caption="Separation ratio over k beside its nulls (95 % ranges).",
    )
    summary = {
        f"seed_{seed}": {f"k_{row.k}": _original_fields(row) for row in part.itertuples()}
        for seed, part in cells.groupby("seed")
    }
    ratios = {f"k_{k}": spread.loc[k, "separation"].to_dict() for k in config.k_values}
    run.json("metrics_summary", {**summary, "summary": {"separation_ratios_by_k": ratios}})


def _original_fields(row) -> dict:  # pyright: ignore[reportMissingParameterType]
    """The original's names for the same numbers."""
    return {
        "mean_within": row.within,
        "mean_between": row.between,
        "separation_ratio": row.separation,
        "cluster_sizes": [int(size) for size in row.sizes.split()],
        "inertia": row.inertia,
    }


def claim_densities(run: "Run", keep: np.ndarray, seen: Densities) -> None:
    """How much of a mask its row and column densities explain, beside what they do by chance."""
    run.claim(
        "density/margins_share",
        seen.margins,
        null=1 / keep.shape[0] + 1 / keep.shape[1],
        kind="share",
        null_is="coin flips of the same shape",
        title="Variance of the mask that row and column densities explain",
    )


def _claim_clusters(
    config: ClustersConfig,
    run: "Run",
    keep: np.ndarray,
    observed: np.ndarray,
    drawn: dict[str, np.ndarray],
    ratios: list[JudgedTest],
    cells: pd.DataFrame,
) -> None:
    """One claim for each k beside the strictest null."""
    for position, k in enumerate(config.k_values):
        per_draw = np.nanmean(observed[:, :, position], axis=1).tolist()
        test = next(ratio for ratio in ratios if ratio.test.statistic == f"separation/k={k}")
        nulls = {name: means[:, position] for name, means in drawn.items()}
        _claim_separation(run, k, per_draw, nulls, test.q)
        published_mean = cells.loc[cells["k"] == k, "ratio as published"].mean()
        title, note = f"The published ratio, k={k}", "singletons count as perfect clusters: not evidence"
        run.claim(f"ratio_as_published/k={k}", published_mean, kind="ratio", title=title, note=note)
    seen: Densities = measure_densities(keep)
    claim_densities(run, keep, seen)
    run.figure(
        "densities",
        figures.density_picture(keep, config.component),
        caption="Row and column densities, beside coin flips.",
    )


def _claim_separation(
    run: "Run", k: int, per_draw: list[float], nulls: dict[str, np.ndarray], q: float
) -> None:
    """The ratio of one number of clusters beside its nulls, and by how much it is beyond the same densities."""
    null, value = nulls["margins"], per_draw[0]
    low, high = np.quantile(null, [0.025, 0.975]).tolist()
    others = ", ".join(f"{name} {draws.mean():.4f}" for name, draws in nulls.items())
    run.claim(
        f"separation_ratio/k={k}",
        value,
        interval=seed_interval(per_draw, "ratio"),
        null=float(null.mean()),
        null_low=low,
        null_high=high,
        null_is="masks with the same densities",
        p=q,
        kind="ratio",
        better="higher",
        title=f"Distance between over within clusters, k={k}",
        note=f"means of the nulls: {others}; repeats are calibration sets",
    )
    run.claim(
        f"separation_excess/k={k}",
        value - float(null.mean()),
        low=value - high,
        high=value - low,
        n=len(null),
        null=0.0,
        null_is="masks with the same densities",
        p=q,
        kind="difference",
        better="higher",
        title=f"Separation of {k} clusters beyond what densities make",
    )
