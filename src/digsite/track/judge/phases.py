"""The analyses of phase 1 on tracked runs: jumps, convergence, critical periods, kinds of jumps, as tables without holes."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from digsite.base.intervals import seed_interval
from digsite.track.core import noise
from digsite.track.core.detect import detector_family, jumps_of, jumps_of_all
from digsite.track.core.jumps import Jump
from digsite.track.core.series import Series
from digsite.track.judge import critical
from digsite.track.subjects.tracked import TrackedRun

Found = list[tuple[Series, list[Jump]]]
EARLY, LATE = 1 / 3, 2 / 3


@dataclass(frozen=True)
class Phase1:
    """Everything phase 1 says about a set of runs."""

    found: Found
    jumps: pd.DataFrame
    convergence: pd.DataFrame
    layers: pd.DataFrame
    critical: pd.DataFrame
    kinds: Typology
    detectors: pd.DataFrame


def analyze_phase1(runs: Sequence[TrackedRun], measure: str, rng: np.random.Generator, seed: int) -> Phase1:
    """All tables of the original's phase 1, each number beside its null."""
    by_name = {run.name: run for run in runs}
    by_series = jumps_of_all(series for run in runs for series in run.series(measure))
    together = {run.name: _layer_coordination(run, measure) for run in runs}
    flat = [(series, jump) for series, jumps in by_series for jump in jumps]
    depths = [series.depth / max(len(by_name[series.run].layers) - 1, 1) for series, _ in flat]
    shared = [float(together[series.run][jump.index]) for series, jump in flat]
    kinds = find_typology(jump_features([jump for _, jump in flat], depths, shared), seed)
    table = pd.DataFrame(
        [
            _jump_row(by_name[series.run], series, jump, shared[i], int(kinds.labels[i]))
            for i, (series, jump) in enumerate(flat)
        ],
        columns=JUMP_COLUMNS,
    )
    orders, layers = _convergence_tables(runs, measure, rng)
    return Phase1(
        by_series,
        table,
        orders,
        layers,
        _critical_table(runs, measure, rng),
        kinds,
        detector_table(runs, measure, by_series),
    )


JUMP_COLUMNS = (
    "experiment",
    "family",
    "arch_name",
    "dataset",
    "seed",
    "layer",
    "depth",
    "step",
    "low",
    "high",
    "before",
    "after",
    "change",
    "change_low",
    "change_high",
    "relative_change",
    "width",
    "speed",
    "phase",
    "phase_category",
    "direction",
    "kind",
    "p",
    "q",
    "coordination",
    "cluster",
)


def _jump_row(
    run: TrackedRun, series: Series, jump: Jump, coordination: float, cluster: int
) -> dict[str, Any]:
    """One jump of one series."""
    row = asdict(jump) | {"direction": jump.direction, "phase_category": third_of_training(jump.phase)}
    row.pop("index")
    return {
        "experiment": run.name,
        "family": run.family,
        "arch_name": run.arch,
        "dataset": run.dataset,
        "seed": run.seed,
        "layer": series.layer,
        "depth": series.depth,
        **row,
        "coordination": coordination,
        "cluster": cluster,
    }


def third_of_training(phase: float) -> str:
    """In the original's words."""
    return "early" if phase < EARLY else "late" if phase > LATE else "mid"


def _moving_layers(run: TrackedRun, measure: str) -> list[np.ndarray]:
    """Series that move and have no holes."""
    return [s.values for s in run.series(measure) if not s.constant and s.holes == 0]


def _layer_coordination(run: TrackedRun, measure: str) -> np.ndarray:
    """Share of layers that are fast, at every sample."""
    moving = _moving_layers(run, measure)
    return np.mean([critical.fast_samples(v) for v in moving], axis=0) if moving else np.zeros(len(run.steps))


def _convergence_tables(
    runs: Sequence[TrackedRun], measure: str, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row per run with its order of layers, and one per layer with its settling step."""
    orders, layers = [], []
    for run in runs:
        settled = [critical.settling_time(series) for series in run.series(measure)]
        order = critical.order_of_layers([s.step for s in settled], rng)
        kinds = Counter(s.kind for s in settled)
        counts = {f"n_{kind.replace(' ', '_')}": kinds[kind] for kind in KINDS}
        orders.append(run_labels(run) | asdict(order) | counts)
        layers += [
            run_labels(run) | {"layer": layer, "depth": depth, **asdict(s)}
            for depth, (layer, s) in enumerate(zip(run.layers, settled, strict=True))
        ]
    return pd.DataFrame(orders), pd.DataFrame(layers)


KINDS = ("constant", "converged", "not converged")


def _critical_table(runs: Sequence[TrackedRun], measure: str, rng: np.random.Generator) -> pd.DataFrame:
    """Coordination of layers, and the loss at fast samples, each beside networks of other seeds of the same cell."""
    rows = []
    for run in runs:
        moving = _moving_layers(run, measure)
        others = [other for other in runs if other is not run and _same_cell(run, other, measure)]
        strangers = [_moving_layers(other, measure) for other in others]
        periods = critical.fast_periods(moving, rng, elsewhere=strangers or None)
        if periods is None:
            continue
        losses = [other.loss for other in others if np.isfinite(other.loss).all()]
        link = (
            critical.loss_link(moving, run.loss, rng, elsewhere=losses)
            if np.isfinite(run.loss).all()
            else None
        )
        rows.append(
            run_labels(run)
            | {
                "total_critical_steps": periods.n_critical,
                "total_transitions": periods.n_transitions,
                "num_coordinated_periods": periods.n_coordinated,
                "max_coordination": periods.highest,
                "max_coordination_null": periods.null_highest,
                "mean_coordination": float(periods.coordination.mean()),
                "coordination_excess": periods.excess,
                "coordination_p": periods.p,
                "other_seeds": len(strangers),
            }
            | ({f"loss_{key}": value for key, value in asdict(link).items()} if link else {})
        )
    return pd.DataFrame(rows)


def _same_cell(run: TrackedRun, other: TrackedRun, measure: str) -> bool:
    """Another seed of the same architecture on the same data, with the same layers moving at the same steps."""
    return (
        (run.arch, run.dataset) == (other.arch, other.dataset)
        and np.array_equal(run.steps, other.steps)
        and [s.layer for s in run.series(measure) if not s.constant and s.holes == 0]
        == [s.layer for s in other.series(measure) if not s.constant and s.holes == 0]
    )


def run_labels(run: TrackedRun) -> dict[str, Any]:
    """What a table says of a run."""
    return {
        "experiment": run.name,
        "family": run.family,
        "arch_name": run.arch,
        "dataset": run.dataset,
        "seed": run.seed,
    }


def detector_table(runs: Sequence[TrackedRun], measure: str, edge: Found) -> pd.DataFrame:
    """Jumps per layer series by every detector, beside its finds in surrogates of the same series that hold none."""
    rng = np.random.default_rng(0)
    series = [s for s, _ in edge]
    some = edge[:: max(len(edge) // 100, 1)]
    smooth = [surrogate_series(s, jumps, rng) for s, jumps in some if not s.constant]
    rows = []
    for name in detector_family():
        per_series = [jumps for _, jumps in edge] if name == "edge" else [jumps_of(s, name) for s in series]
        null = [jumps_of(s, name) for s in smooth]
        line: dict[str, Any] = {"detector": name}
        for part, (low, high) in PARTS.items():
            for side, lists in (("", per_series), ("null_", null)):
                counts = [sum(low <= jump.phase < high for jump in jumps) for jumps in lists]
                line[f"{side}{part}per_series"] = float(np.mean(counts)) if counts else 0.0
        rows.append(line)
    return pd.DataFrame(rows)


# Of training: all of it, its first tenth, its second half. Where false alarms fall is not where jumps would by chance.
PARTS = {"": (-np.inf, np.inf), "early_": (0.0, 0.1), "late_": (0.5, 1.01)}


COURSE = 3  # degree of a surrogate's course, in time or in log time, whichever is nearer


def surrogate_series(series: Series, jumps: Sequence[Jump], rng: np.random.Generator) -> Series:
    """A cubic course of the series, and over it all that it and the `jumps` leave, in new phases and with the old local strength.

    Nothing in it is at a place. (A smoothed course would keep each jump as a slope, which the test rightly finds, and a jump
    that is left in the rest would come back as a slow process.)
    """
    values = series.values
    rises = [np.clip((series.steps - jump.step) / jump.width + 0.5, 0, 1) for jump in jumps]
    fits = []
    for clock in (np.arange(len(values)), np.log1p(np.arange(len(values)))):
        course = np.polynomial.chebyshev.chebvander(2 * (clock - clock[0]) / np.ptp(clock) - 1, COURSE)
        columns = np.column_stack([course, *rises])
        size = np.linalg.lstsq(columns, values, rcond=None)[0]
        fits.append((course @ size[: COURSE + 1], values - columns @ size))
    course, rest = min(fits, key=lambda fit: float((fit[1] ** 2).sum()))
    strength = np.maximum(noise.clipped_scale(rest[None])[0], 1e-9 * float(np.ptp(values)))
    spectrum = np.abs(np.fft.rfft(rest / strength))
    turns = np.exp(2j * np.pi * rng.random(len(spectrum)))
    return Series(series.steps, course + strength * np.fft.irfft(spectrum * turns, len(values)))


def rate_by(jumps: pd.DataFrame, layers: pd.DataFrame, key: str) -> pd.DataFrame:
    """Jumps per layer series by a column: mean over runs, and the median with its 95 % interval."""
    sizes: Any = layers.groupby([key, "experiment"]).size()
    per_run = sizes.rename("layers").to_frame()
    per_run["jumps"] = jumps.groupby([key, "experiment"]).size() if len(jumps) else 0
    rates = (per_run["jumps"].fillna(0) / per_run["layers"]).groupby(key)
    over = {name: seed_interval(values.tolist(), "median", least=0.0) for name, values in rates}
    rows = [
        (name, float(values.mean()), over[name].value, over[name].low, over[name].high, len(values))
        for name, values in rates
    ]
    table = pd.DataFrame(rows, columns=[key, "rate", "median", "low", "high", "runs"])
    return table.astype({"low": float, "high": float})


def clustering_summary(kinds: Typology) -> dict[str, Any]:
    """For jump_clustering_results.json: one kind means no clusters."""
    sizes = {str(c): int((kinds.labels == c).sum()) for c in range(kinds.k)}
    return {
        "n_clusters": kinds.k,
        "answer": "no clusters" if kinds.k == 1 else f"{kinds.k} clusters",
        "cluster_sizes": sizes,
        "features": list(FEATURES),
        "centers": [list(map(float, center)) for center in kinds.centers] if kinds.k > 1 else [],
        "gap": list(kinds.gaps),
        "silhouette": kinds.silhouette,
    }


def without_holes(value: Any) -> Any:
    """For JSON: undefined numbers become null."""
    if isinstance(value, Mapping):
        return {str(key): without_holes(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [without_holes(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


# Kinds of jumps: k-means on scale-free features with the number of kinds chosen by the gap, one kind allowed.

FEATURES = ("log relative size", "log width", "direction", "log time", "depth", "coordination")
MOST = 6


@dataclass(frozen=True)
class Typology:
    """`k` = 1 means no clusters: the jumps are one cloud. Centers are in the features' own units."""

    k: int
    labels: np.ndarray
    centers: np.ndarray
    gaps: tuple[float, ...]
    silhouette: float | None


def jump_features(jumps: Sequence[Jump], depth: Sequence[float], coordination: Sequence[float]) -> np.ndarray:
    """One row per jump; every column is free of the layer's units."""
    return np.array(
        [
            [
                np.log10(max(abs(jump.relative_change), 1e-12)),
                np.log10(max(jump.width, 1e-12)),
                1.0 if jump.change > 0 else -1.0,
                np.log10(1 + max(jump.step, 0)),
                deep,
                together,
            ]
            for jump, deep, together in zip(jumps, depth, coordination, strict=True)
        ]
    ).reshape(len(jumps), len(FEATURES))


def find_typology(table: np.ndarray, seed: int, *, references: int = 20) -> Typology:
    """Tibshirani's gap statistic against a Gaussian of the same covariance: elongated is not clustered.

    The smallest k whose gap is within one standard error of the next one's is chosen.
    """
    n = len(table)
    spread = table.std(0) if n else np.ones(table.shape[1])
    keep = spread > 1e-12
    if n < 20 or not keep.any():
        return Typology(1, np.zeros(n, dtype=int), table.mean(0, keepdims=True) if n else table, (), None)
    scaled = (table[:, keep] - table[:, keep].mean(0)) / spread[keep]
    rng = np.random.default_rng(seed)
    top = min(MOST, n // 10)
    fits = [_run_kmeans(scaled, k, seed) for k in range(1, top + 1)]
    cloud = [
        [np.log(_run_kmeans(_draw_alike(scaled, rng), k, seed)[0]) for k in range(1, top + 1)]
        for _ in range(references)
    ]
    null = np.array(cloud)
    gaps = null.mean(0) - np.log([max(inertia, 1e-300) for inertia, _ in fits])
    errors = null.std(0) * np.sqrt(1 + 1 / references)
    enough = [k for k in range(top - 1) if gaps[k] >= gaps[k + 1] - errors[k + 1]]
    k = (enough[0] if enough else top - 1) + 1
    labels = fits[k - 1][1]
    centers = np.stack([table[labels == c].mean(0) for c in range(k)])
    return Typology(k, labels, centers, tuple(map(float, gaps)), _silhouette_score(scaled, labels))


def _run_kmeans(x: np.ndarray, k: int, seed: int) -> tuple[float, np.ndarray]:
    """Inertia and labels."""
    from sklearn.cluster import KMeans

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct points than clusters is an answer here
        settings: Any = {"n_init": 4, "random_state": seed}
        fit: Any = KMeans(k, **settings).fit(x)
    return float(fit.inertia_), np.asarray(fit.labels_)


def _draw_alike(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Same covariance, no clusters; two-valued columns are drawn again from their own values."""
    draw = rng.multivariate_normal(
        np.zeros(x.shape[1]), np.cov(x.T).reshape(x.shape[1], -1), size=len(x), method="svd"
    )
    for column in range(x.shape[1]):
        if len(np.unique(x[:, column])) <= 2:
            draw[:, column] = rng.choice(x[:, column], len(x))
    return draw


def _silhouette_score(x: np.ndarray, labels: np.ndarray) -> float | None:
    """None where there is one cluster or as many as points."""
    from sklearn.metrics import silhouette_score

    return float(silhouette_score(x, labels)) if 1 < len(np.unique(labels)) < len(x) else None
