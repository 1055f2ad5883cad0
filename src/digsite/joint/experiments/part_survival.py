"""One decomposition of a network, followed through what is done to the network: which parts live through what?"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from torch import Tensor

from digsite.base.intervals import seed_interval
from digsite.base.streams import derive_seed
from digsite.data import sequences
from digsite.figures import PALETTE, canvas, styled
from digsite.figures.style import NULL_COLOR
from digsite.joint.config import PartSurvivalConfig
from digsite.joint.core import growth
from digsite.joint.core.growth import Course, MapParts
from digsite.joint.experiments.growth import make_model, open_course, train_networks
from digsite.joint.judge.blocks.stability import round_rows
from digsite.prune import prune_matrix
from digsite.record.verdict import cite
from digsite.train import Ensemble, Examples, Member
from digsite.train.layout import Layout
from digsite.worker.run import Run

Weights = dict[str, Tensor]
Change = Callable[[Weights], Weights]
MEASURES = {"works": "Does the same", "found": "Found again", "place": "Speaks to the same neurons"}


def study_part_survival(config: PartSurvivalConfig, run: Run) -> None:
    stored = run.once("training", lambda: train_networks(config))
    siblings = run.once("siblings", lambda: train_siblings(config, stored))
    rows, parts_rows = [], []
    run.stage("networks", config.networks)
    for k in range(config.networks):
        followed = run.once(
            f"network-{k}", lambda i=k: follow_network(config, run, stored, siblings, i), announce=False
        )
        rows += followed["networks"]
        parts_rows += followed["parts"]
        run.let_signals_in(k + 1)
    networks, parts = pd.DataFrame(rows), pd.DataFrame(parts_rows)
    run.table("networks", networks)
    run.table("parts", parts)
    claim_survival(run, config, networks, parts)
    run.figure(
        "survival",
        draw_survival(networks),
        networks,
        caption="What is left of a network's parts after each change, beside random directions: the cosine between what switching a part off "
        "did before and does now; and the accuracy. A dot is a network.",
    )
    run.view("networks", kind="table", source="tables/networks.csv")
    conclude(run, config)


def conclude(run: Run, config: PartSurvivalConfig) -> None:
    half, hard = name_pruning(0.5, config), name_pruning(0.7, config)
    coarse = f"rounded_to_{sorted(config.bits)[-(-len(config.bits) // 2) - 1]}_bits"
    shown = [f"works/{half}", f"works/{coarse}", "works/merged_with_sibling", f"found/{hard}", f"size/{half}"]
    run.headline(shown, hero="survival")

    def both(name: str) -> str:
        return f"{cite(name, style='.2f')}; random directions {cite(name, 'null', '.2f')}"

    run.verdict(
        f"With half of the weights pruned a part does what it did (cosine {both(f'works/{half}')}), rounded to a few bits "
        f"({both(f'works/{coarse}')}), merged with a sibling ({both('works/merged_with_sibling')}), not merged with a stranger "
        f"({both('works/merged_with_stranger')}); the large ones rather than the small ones (Spearman {cite(f'size/{half}', style='.2f')}). "
        f"Parts outlive the accuracy: pruned further it is {cite(f'accuracy/{hard}', style='.2f')}, and they are found again "
        f"({both(f'found/{hard}')}).",
        on=["works/*", "found/*", "size/*", "early", "same_parts"],
    )


def name_pruning(share: float, config: PartSurvivalConfig) -> str:
    """Of the pruned shares the one nearest to `share`."""
    return f"pruned_{min(config.shares, key=lambda s: abs(s - share)):.0%}"


def train_siblings(config: PartSurvivalConfig, stored: dict[str, Any]) -> Tensor:
    """Each network trained on from an earlier checkpoint, on half batches in an order of its own: (networks, weights)."""
    x, y = sequences.modular_addition(config.modulus)
    train = torch.ones(len(x), dtype=torch.bool)
    train[stored["test"]] = False
    start = find_leave(config, stored)
    members = [
        Member(
            seed=derive_seed(config.seed, "sibling", i) % 2**31,
            batch=int(train.sum()) // 2,
            steps=config.steps - int(stored["steps"][start]),
            lr=0.01,
            weight_decay=config.decays[i % len(config.decays)],
            optimizer="adamw",
        )
        for i in range(config.networks)
    ]
    ensemble = Ensemble(
        make_model(config), Examples(x[train], y[train]), members, start=stored["weights"][start]
    )
    while not ensemble.done:
        ensemble.step()
    return ensemble.flat


def find_leave(config: PartSurvivalConfig, stored: dict[str, Any]) -> int:
    """The last checkpoint that a network shares with its sibling."""
    return int((stored["steps"] <= config.leave * config.steps).sum()) - 1


def list_changes(
    config: PartSurvivalConfig, sibling: Weights, stranger: Weights, order: Tensor
) -> dict[str, Change]:
    changes: dict[str, Change] = {
        f"pruned_{s:.0%}": lambda w, s=s: prune_weights(w, s) for s in config.shares
    }
    changes |= {f"rounded_to_{b}_bits": lambda w, b=b: round_weights(w, b) for b in config.bits}
    return changes | {
        "merged_with_sibling": lambda w: {name: (w[name] + sibling[name]) / 2 for name in w},
        "merged_with_stranger": lambda w: {name: (w[name] + stranger[name]) / 2 for name in w},
        "neurons_renumbered": lambda w: renumber_neurons(w, order),
        "sibling": lambda w: sibling,
        "another_seed": lambda w: stranger,
    }


def prune_weights(weights: Weights, share: float) -> Weights:
    """Every matrix by the size of its weights."""
    return {
        name: prune_matrix(w, method="magnitude", sparsity=share, measure=False).weight if w.ndim > 1 else w
        for name, w in weights.items()
    }


def round_weights(weights: Weights, bits: int) -> Weights:
    copies = {name: w.clone() for name, w in weights.items()}
    for name, weight in copies.items():
        round_rows(bits)(name, weight)
    return copies


def renumber_neurons(weights: Weights, order: Tensor) -> Weights:
    """The same network with its hidden neurons in another order."""
    return {
        "embed.weight": weights["embed.weight"],
        "l1.weight": weights["l1.weight"][order],
        "l1.bias": weights["l1.bias"][order],
        "unembed.weight": weights["unembed.weight"][:, order],
    }


def follow_network(
    config: PartSurvivalConfig, run: Run, stored: dict[str, Any], siblings: Tensor, k: int
) -> dict[str, Any]:
    """Rows of network k under every change: means over its parts, and each part by itself."""
    layout, generator = Layout.of(make_model(config)), run.generator("changes", k)
    views = [
        layout.views(flat)
        for flat in (stored["weights"][-1, k], siblings[k], stored["weights"][-1, (k + 1) % config.networks])
    ]
    own, sibling, stranger = views
    order = torch.randperm(len(own["l1.bias"]), generator=generator)
    changes = list_changes(config, sibling, stranger, order)
    changed = [own, *(change(own) for change in changes.values())]
    pairs, answers = sequences.modular_addition(config.modulus)
    together = {name: torch.stack([w[name] for w in changed]) for name in own}
    course = Course(np.arange(len(changed), dtype=float), together, pairs, answers, stored["test"])
    parts = growth.split_map(course.tables[0], config.energy)
    random = torch.randn(parts.reads.shape, generator=generator, dtype=parts.reads.dtype)
    both = torch.cat([parts.directions, random / random.norm(dim=0)], 1)
    before = measure_effects(course, 0, both)
    rows, each = [], []
    for at, change in enumerate(changes, 1):
        again = growth.split_map(course.tables[at], config.energy)
        scores = {
            "works": np.array(
                [growth.compare_effects(a, b) for a, b in zip(before, measure_effects(course, at, both))]
            ),
            "found": growth.find_again(both, again),
            "place": growth.compare_places(course.tables[0], course.tables[at], both),
        }
        n = parts.reads.shape[1]
        rows.append(_network_row(config, k, change, course, at, scores, n))
        each += _part_rows(k, change, parts, scores)
    early = growth.follow_directions(
        open_course(config, stored, k).tables[[find_leave(config, stored), -1]], parts.directions
    )
    for row in each:
        row["early"] = float(early[0, row["part"]] / max(early[1, row["part"]], 1e-12))
    return {"networks": rows, "parts": each}


def measure_effects(course: Course, at: int, directions: Tensor) -> list[Tensor]:
    """What switching off each direction does to all logits."""
    whole = course.logits(at)
    return [whole - course.logits(at, directions[:, [c]]) for c in range(directions.shape[1])]


def _network_row(
    config: PartSurvivalConfig,
    k: int,
    change: str,
    course: Course,
    at: int,
    scores: dict[str, np.ndarray],
    n: int,
) -> dict[str, Any]:
    row = {
        "network": k,
        "change": change,
        "accuracy": course.accuracy(at),
        "accuracy_before": course.accuracy(0),
        "parts": n,
    }
    for name, values in scores.items():
        row |= {name: float(values[:n].mean()), f"{name}_random": float(values[n:].mean())}
    return {**row, "alive": float((scores["works"][:n] >= config.alive).mean())}


def _part_rows(k: int, change: str, parts: MapParts, scores: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    sizes = parts.reads.norm(dim=0).tolist()
    return [
        {
            "network": k,
            "change": change,
            "part": c,
            "size": size,
            **{name: float(values[c]) for name, values in scores.items()},
        }
        for c, size in enumerate(sizes)
    ]


def claim_survival(run: Run, config: PartSurvivalConfig, networks: Any, parts: Any) -> None:
    """Medians over networks, which are the independent units; the null of a part is a random direction in its place."""
    for change, rows in networks.groupby("change", sort=False):
        for measure, title in MEASURES.items():
            run.claim(
                f"{measure}/{change}",
                interval=seed_interval(rows[measure].tolist(), "median"),
                kind="correlation",
                better="higher",
                null=float(rows[f"{measure}_random"].median()),
                null_is="random directions of what is read",
                title=f"{title}, {change.replace('_', ' ')}",
            )
        run.claim(
            f"accuracy/{change}",
            float(rows["accuracy"].median()),
            kind="share",
            null=1 / config.modulus,
            null_is="a guess",
            title=f"Accuracy, {change.replace('_', ' ')}",
        )
        run.claim(
            f"size/{change}",
            interval=correlate(parts[parts["change"] == change], "size", "works"),
            kind="correlation",
            null=0.0,
            null_is="sizes in any order",
            title=f"Large parts live, not small ones, {change.replace('_', ' ')}",
        )
    merged = parts[parts["change"] == "merged_with_sibling"]
    run.claim(
        "early",
        interval=correlate(merged, "early", "works"),
        kind="correlation",
        null=0.0,
        null_is="ages in any order",
        title="Whether parts that were there before the sibling left live through merging with it (Spearman)",
    )
    pruned, rounded = (f"pruned_{max(config.shares):.0%}", f"rounded_to_{min(config.bits)}_bits")
    pair = parts[parts["change"] == pruned].assign(
        other=parts.loc[parts["change"] == rounded, "works"].to_numpy()
    )
    run.claim(
        "same_parts",
        interval=correlate(pair, "works", "other"),
        kind="correlation",
        null=0.0,
        null_is="parts in any order",
        title="Whether the parts that live through the hardest pruning are those that live through the coarsest rounding (Spearman)",
    )


def correlate(parts: pd.DataFrame, column: str, other: str) -> Any:
    """Spearman's correlation within each network, its median over networks; networks of fewer than three parts have none."""
    each = [spearmanr(g[column], g[other]).statistic for _, g in parts.groupby("network") if len(g) > 2]  # pyright: ignore[reportAttributeAccessIssue]
    return seed_interval([float(v) for v in each], "median")


@styled
def draw_survival(networks: pd.DataFrame) -> Any:
    order = list(dict.fromkeys(networks["change"]))
    figure, axes = canvas(1, 3, width=9.6, height=1.1 + 0.27 * len(order), sharey=True)
    columns = {
        "works": "switching it off does the same (cosine)",
        "found": "found again (cosine)",
        "accuracy": "accuracy",
    }
    for ax, (column, label) in zip(axes, columns.items()):
        for position, change in enumerate(order):
            rows = networks[networks["change"] == change]
            if column != "accuracy":
                ax.plot(
                    rows[f"{column}_random"],
                    [position + 0.2] * len(rows),
                    "o",
                    color=NULL_COLOR,
                    markersize=3,
                    alpha=0.5,
                    label=None if position else "random directions",
                )
            color = PALETTE[0] if column == "accuracy" else PALETTE[1]
            ax.plot(
                rows[column],
                [position - 0.1] * len(rows),
                "o",
                color=color,
                markersize=4,
                alpha=0.5,
                label=None if position or column == "accuracy" else "parts",
            )
        ax.set(xlabel=label, xlim=(-0.05, 1.04))
    axes[0].set_yticks(range(len(order)), [name.replace("_", " ") for name in order])
    axes[0].invert_yaxis()
    axes[0].legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure
