"""The room's pictures: comparison bars, curves, maps of learned representations, predictions, attention."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.manifold import TSNE

from digsite.figures import NULL_COLOR, PALETTE, bars, canvas, curves, heatmap, place_legend, scatter, styled
from digsite.read.core.metrics import Score
from digsite.read.judge.comparison import TRIVIAL, ReaderOutcome
from digsite.read.judge.summary import headline_metric

WORDS = {"tau": "Kendall's tau", "auroc": "AUROC", "r2": "R2"}
MARKS = "os^D"  # one for every round through the palette
# Not the activation or the family: every reader is given these, and a map of them would show nothing that it learned.
_COLOR_BY = ("test_accuracy", "optimizer", "init", "dropout")
_MIN_FOR_TSNE = 30
_NEURONS = 16  # shown of a layer: more names than this cannot be read


def draw_outcome(outcome: ReaderOutcome, extra: Mapping[str, Any], save: Callable[..., None]) -> None:
    """Every figure of the experiment, each handed to `save(name, figure, data, caption=...)`."""
    methods = [m for m in outcome.scores if m not in TRIVIAL]
    for regression, metric in ((True, "r2"), (True, "tau"), (False, "accuracy")):
        tasks = [t.name for t in outcome.tasks if t.is_regression is regression]
        if tasks:
            figure, data = draw_comparison(outcome, methods, tasks, metric)
            save(
                f"{'regression' if regression else 'classification'}-{metric}",
                figure,
                data,
                caption=f"{metric} of every reader on the same test networks.",
            )
    for task in outcome.tasks:
        metric = headline_metric(task)
        figure = by_method(outcome, methods, task.name, metric)
        save(
            f"task-{task.name}",
            figure,
            caption=f"How well each reader tells {task.purpose}, on networks that none has seen ({WORDS.get(metric, metric)}); "
            "hyper-parameters know the training, not the weights. Gray: what a constant scores.",
        )
    _draw_learned(outcome, extra, save)


def _draw_learned(outcome: ReaderOutcome, extra: Mapping[str, Any], save: Callable[..., None]) -> None:
    """Curves and maps of the graph network, once."""
    readings = extra["found"]
    graph = next(
        (f for f in readings.values() if f["curves"]), None
    )  # readers made of it share one graph network
    if graph is not None:
        save(
            "training",
            draw_training(graph["curves"]),
            caption="Loss of the graph networks by epoch: in training, and on networks that nothing is learned from.",
        )
        if graph["attention"]:
            picture = draw_attention(graph["attention"])
            save(
                "attention",
                picture,
                caption="Attention over one network's neurons, the most attended of each layer by name.",
            )
    best = next((k for k in ("ensemble", "nwpa", "consensus") if k in readings), next(iter(readings)))
    vectors, labels = np.asarray(readings[best]["vectors"]), extra["labels"]
    save("map", representation_map(vectors, labels), caption=f"What {best} has learned to tell apart.")
    if "test_accuracy" in outcome.truth:
        y, value = outcome.truth["test_accuracy"], outcome.answers[best]["test_accuracy"]
        figure = scatter(
            {best: (y, value)}, x="measured test accuracy", y="read from the model", diagonal=True
        )
        save(
            "predicted",
            figure,
            {"measured": y, "predicted": value},
            caption=f"Test accuracy as {best} reads it.",
        )
        save(
            "labels",
            draw_few_labels(extra),
            caption="Reading against measuring accuracy on a few labeled images.",
        )


@styled
def draw_comparison(
    outcome: ReaderOutcome, methods: Sequence[str], tasks: Sequence[str], metric: str
) -> tuple[Figure, pd.DataFrame]:
    """One line per task, one mark per reader with its 95 % interval, a gray bar for the constant."""
    figure, ax = canvas(width=7.5, height=max(2.4, 1.2 + 0.42 * len(tasks)))
    rows, step = [], 0.7 / len(methods)
    for i, method in enumerate(methods):
        scores = [outcome.scores[method].get(t, {}).get(metric) for t in tasks]
        values = [s.value if s else np.nan for s in scores]
        y = np.arange(len(tasks)) + (i - (len(methods) - 1) / 2) * step
        error = [[_error_side(s, low) for s in scores] for low in (True, False)]
        ax.errorbar(
            np.clip(values, -0.2, None),
            y,
            xerr=error,
            fmt=MARKS[i // len(PALETTE)],
            ms=3.5,
            elinewidth=0.8,
            color=PALETTE[i % len(PALETTE)],
            label=method,
        )
        rows += [{"method": method, "task": t, metric: v} for t, v in zip(tasks, values)]
    for j, task in enumerate(tasks):
        null = outcome.scores["constant"][task].get(metric)
        if null is not None:
            ax.vlines(null.value, j - 0.42, j + 0.42, color=NULL_COLOR, linewidth=2)
    ax.set_yticks(range(len(tasks)), tasks)
    ax.invert_yaxis()
    ax.set(xlabel=f"{metric} (gray: constant)")
    if metric == "r2":  # one wild interval would squeeze all others: R2 has no least value
        ax.set_xlim(-0.25, 1.02)
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure, pd.DataFrame(rows)


def _error_side(s: Score | None, low: bool) -> float:
    """Length of one side of an error bar; 0 where there is no interval."""
    if s is None or not np.isfinite(s.low):
        return 0.0
    return max(0.0, s.value - s.low) if low else max(0.0, s.high - s.value)


def by_method(outcome: ReaderOutcome, methods: Sequence[str], task: str, metric: str) -> Figure:
    """One task: every reader and the hyper-parameters, beside the constant."""
    shown = [m for m in [*methods, "hyperparameters"] if metric in outcome.scores.get(m, {}).get(task, {})]
    scores = {m: outcome.scores[m][task][metric] for m in shown}
    null = outcome.scores["constant"][task].get(metric)
    return bars(
        {m: s.value for m, s in scores.items()},
        y=f"{task.replace('_', ' ')}: {WORDS.get(metric, metric)}",
        lows={m: s.low for m, s in scores.items()},
        highs={m: s.high for m, s in scores.items()},
        nulls=dict.fromkeys(shown, null.value) if null and np.isfinite(null.value) else None,
        null_label="constant",
    )


def draw_training(courses: Sequence[Mapping[str, Any]]) -> Figure:
    """Loss by epoch, for each graph network one line in training and one on held-out networks."""
    series = {}
    for curve in courses:
        for key, label in (("loss", curve["about"]), ("validation_loss", f"{curve['about']}, held out")):
            points = [p for p in curve["points"] if key in p]
            if points:
                series[label] = ([p["epoch"] for p in points], [p[key] for p in points])
    return curves(series, x="epoch", y="multi-task loss")


def draw_few_labels(extra: Mapping[str, Any]) -> Figure:
    """Tau of accuracy measured on k images, and each reader's tau as a level line."""
    counts, taus = list(extra["few_labels"]), list(extra["few_labels"].values())
    series = {"k labeled images": (counts, taus)}
    series |= {k: (counts, [tau] * len(counts)) for k, tau in extra["taus"].items()}
    return curves(series, x="labeled images k", y="Kendall tau of test accuracy", log_x=True)


@styled
def representation_map(vectors: np.ndarray, labels: Any) -> Figure:
    """PCA and, from 30 networks on, t-SNE of what the reader represents, colored by two properties."""
    shown = [c for c in _COLOR_BY if c in labels and labels[c].nunique() > 1][:3]
    maps = {"PCA": vectors[:, :2]}
    if len(vectors) >= _MIN_FOR_TSNE:
        perplexity = min(30.0, len(vectors) / 4)
        maps["t-SNE"] = TSNE(2, perplexity=perplexity, init="pca", random_state=0).fit_transform(vectors)
    figure, axes = canvas(
        len(maps), max(1, len(shown)), width=3.4 * max(1, len(shown)), height=3.0 * len(maps)
    )
    grid = np.atleast_2d(np.asarray(axes, dtype=object)).reshape(len(maps), -1)
    for row, (name, xy) in zip(grid, maps.items()):
        for ax, column in zip(row, shown):
            _color_points(ax, xy, labels[column], name)
    return figure


def _color_points(ax: Any, xy: np.ndarray, column: pd.Series, name: str) -> None:
    """Numbers by a scale, classes by the palette."""
    if pd.api.types.is_numeric_dtype(column):
        points = ax.scatter(*xy.T, c=column, s=10, cmap="viridis")
        ax.figure.colorbar(points, ax=ax, shrink=0.8)
    else:
        for i, value in enumerate(sorted(column.astype(str).unique())):
            chosen = (column.astype(str) == value).to_numpy()
            ax.scatter(*xy[chosen].T, s=10, color=PALETTE[i % len(PALETTE)], label=value)
        place_legend(ax, fontsize=7)
    ax.set(xlabel=f"{name} 1", ylabel=f"{name} 2", title=column.name)


@styled
def draw_attention(layers: Sequence[Mapping[str, Any]]) -> Figure:
    """One row per node set, one cell per neuron with its name, times their number: 1 is an equal share."""
    shown = min(_NEURONS, max(len(layer["share"]) for layer in layers))
    matrix = np.full((len(layers), shown), np.nan)
    figure, ax = canvas(width=9.0, height=1.4 + 0.5 * len(layers))
    for y, layer in enumerate(layers):
        share = np.asarray(layer["share"])
        order = np.argsort(-share, kind="stable")[:shown]
        matrix[y, : len(order)] = share[order] * len(share)
        names = layer.get("names") or [f"#{i}" for i in range(len(share))]
        for x, neuron in enumerate(order):
            ax.text(x, y, names[neuron], ha="center", va="center", fontsize=6, color="white")
    heatmap(
        matrix,
        x=f"neuron, most attended first (at most {_NEURONS} of a layer)",
        y="layer",
        unit="attention x neurons",
        ticks_y=[str(layer["layer"]) for layer in layers],
        ax=ax,
    )
    for text in ax.texts:  # dark on the bright half of the scale
        x, y = (round(v) for v in text.get_position())
        bright = matrix[y, x] > (np.nanmin(matrix) + np.nanmax(matrix)) / 2
        text.set_color("black" if bright else "white")
    return figure


@styled
def draw_lineage(names: Sequence[str], edges: Sequence[tuple[int, int, str]]) -> Figure:
    """A tree of models, roots on top; the word on an edge says what was done."""
    parent = {child: (above, how) for above, child, how in edges}
    depth = {i: _depth_below_root(i, parent) for i in range(len(names))}
    levels: dict[int, list[int]] = {}
    for i, d in depth.items():
        levels.setdefault(d, []).append(i)
    positions = {i: ((k + 1) / (len(row) + 1), -d) for d, row in levels.items() for k, i in enumerate(row)}
    figure, ax = canvas(width=max(5.0, 1.6 * max(map(len, levels.values()))), height=1.2 + 1.1 * len(levels))
    for child, (above, how) in parent.items():
        (x0, y0), (x1, y1) = positions[above], positions[child]
        ax.annotate(
            "", (x1, y1 + 0.12), (x0, y0 - 0.12), arrowprops={"arrowstyle": "->", "color": NULL_COLOR}
        )
        ax.text((x0 + x1) / 2, (y0 + y1) / 2, how, fontsize=7, ha="center")
    for i, (x, y) in positions.items():
        ax.text(
            x,
            y,
            names[i],
            ha="center",
            va="center",
            bbox={"boxstyle": "round", "fc": "white", "ec": PALETTE[0]},
        )
    ax.set(xlim=(0, 1), ylim=(-max(levels) - 0.5, 0.5))
    ax.axis("off")
    return figure


def _depth_below_root(i: int, parent: Mapping[int, tuple[int, str]]) -> int:
    """Edges between a model and the root above it."""
    return 0 if i not in parent else 1 + _depth_below_root(parent[i][0], parent)
