"""Study: skills learned one after the other under a smooth mean loss; are they found from losses by sample?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import adjusted_rand_score
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.figures import canvas, styled
from digsite.figures.style import NULL_COLOR, PALETTE
from digsite.record.verdict import cite
from digsite.track.config import SampleLossConfig
from digsite.track.core.sample_losses import SampleClusters, cluster_samples, split_losses
from digsite.train import Member, Stream, train_ensemble
from digsite.worker.run import Run


def study_sample_losses(config: SampleLossConfig, run: Run) -> None:
    """Several seeds of a network that learns parities of different frequency, and one whose answers are random."""
    stored = run.once("training", lambda: _train_watched(config, run))
    task = np.asarray(stored["task"])
    rows, shown = [], None
    for kind in ("skills", "random"):
        for i in range(config.seeds):
            losses, along = (
                stored[kind]["losses"][i].double().numpy(),
                stored[kind]["along"][i].double().numpy(),
            )
            for name, changes in {
                "all": np.diff(losses, axis=0),
                **{f"direction {d + 1}": c for d, c in enumerate(along)},
            }.items():
                clusters = cluster_samples(changes, run.rng(f"{kind}/{name}", i))
                agree = float(adjusted_rand_score(task, clusters.labels))
                rows.append(
                    {
                        "kind": kind,
                        "seed": i,
                        "changes": name,
                        "clusters": clusters.count,
                        "explained": clusters.explained,
                        "null": clusters.null,
                        "p": clusters.p,
                        "agreement": agree,
                    }
                )
                if shown is None:
                    shown = (losses, clusters)
            run.let_signals_in()
    table = pd.DataFrame(rows)
    run.table("clusters", table)
    _claim_clusters(run, table)
    assert shown is not None
    steps = np.asarray(stored["steps"], dtype=float)
    run.figure(
        "losses",
        draw_clusters(steps, shown[0], shown[1], task),
        caption="Mean loss of the clusters that are found without being told the skills, and of the skills; gray: of all samples.",
    )
    run.view("clusters", "table", "tables/clusters.csv")


def _claim_clusters(run: Run, table: pd.DataFrame) -> None:
    """Agreement with the true skills, beside networks that had none to learn."""
    skills, nothing = (table[table.kind.eq(kind)] for kind in ("skills", "random"))
    whole, silent = (part[part.changes == "all"] for part in (skills, nothing))
    best, least = (part.groupby("seed").agreement.max() for part in (skills, nothing))
    for name, own, other, title in (
        ("all_changes", whole.agreement, silent.agreement, "Agreement of clusters with the skills"),
        ("best_direction", best, least, "The same along the best direction of training"),
    ):
        run.claim(
            f"agreement/{name}",
            own.mean(),
            low=own.min(),
            high=own.max(),
            n=len(own),
            null=other.mean(),
            null_is="networks with random answers",
            title=title,
            note="adjusted Rand index with the true skills; interval: least and largest",
        )
    for name, part, which in (
        ("found", whole, "with skills"),
        ("found_in_random", silent, "with random answers"),
    ):
        hits, title = (
            int((part.p <= 0.05).sum()),
            f"Networks {which} whose samples go together beyond exchange",
        )
        run.claim_share(name, hits, len(part), null=0.05, null_is="the level of the test", title=title)
    run.headline(["agreement/all_changes", "found"], hero="losses")
    run.verdict(
        f"Clusters of samples agree with the skills by {cite('agreement/all_changes', style='.2f')} (adjusted Rand index), with "
        f"random answers by {cite('agreement/all_changes', 'null', style='.2f')}; samples go together beyond exchange in "
        f"{cite('found', 'hits')} of {cite('found', 'n')} networks, and in {cite('found_in_random', 'hits')} of "
        f"{cite('found_in_random', 'n')} that had no skill to learn.",
        on=["agreement/*", "found"],
    )


def _draw_batch(
    config: SampleLossConfig, count: int, draw: torch.Generator, *, random: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, answers and skills: a skill is one-hot, its answer the parity of its own two bits; skills fall in frequency."""
    weights = config.falling ** torch.arange(config.skills)
    skill = torch.multinomial(weights, count, replacement=True, generator=draw)
    bits = torch.randint(0, 2, (count, 2 * config.skills), generator=draw)
    own = bits.view(count, config.skills, 2).sum(-1) % 2
    answer = own.gather(1, skill[:, None]).squeeze(1)
    if random:
        answer = torch.randint(0, 2, (count,), generator=draw)
    x = torch.cat([F.one_hot(skill, config.skills).float(), 2 * bits.float() - 1], 1)
    return x, answer, skill


def _train_watched(config: SampleLossConfig, run: Run) -> dict[str, Any]:
    """A network on skills and one on noise, with their losses by sample."""
    x, y, skill = _draw_batch(config, config.samples, run.generator("held out"))
    at = np.linspace(0, config.steps, config.checkpoints).astype(int).tolist()
    out: dict[str, Any] = {"task": skill, "steps": torch.tensor(at)}
    for kind, random in (("skills", False), ("random", True)):

        def batch(step: int, kind: str = kind, random: bool = random) -> tuple[Tensor, Tensor]:
            inputs, answers, _ = _draw_batch(config, config.batch, run.generator(kind, step), random=random)
            return inputs, answers

        width = x.shape[1]
        model = nn.Sequential(nn.Linear(width, config.width), nn.ReLU(), nn.Linear(config.width, 2))
        members = [
            Member(seed=run.derive(kind, i) % 2**31, lr=config.lr, steps=config.steps, batch=config.batch)
            for i in range(config.seeds)
        ]
        done = train_ensemble(model, Stream(batch), members, checkpoints=at)
        views = lambda row, layout=done.ensemble.layout: {n: v[0] for n, v in layout.views(row[None]).items()}  # noqa: E731
        pairs = [
            split_losses(
                done.ensemble.module(i), done.snapshots[:, i], views, x, y, _each_loss, config.directions
            )
            for i in range(config.seeds)
        ]
        out[kind] = {
            "losses": torch.stack([a for a, _ in pairs]),
            "along": torch.stack([b for _, b in pairs]),
        }
    return out


def _each_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Not averaged."""
    return F.cross_entropy(outputs, targets, reduction="none")


@styled
def draw_clusters(steps: np.ndarray, losses: np.ndarray, clusters: SampleClusters, task: np.ndarray) -> Any:
    """Mean losses of clusters beside those of the true skills. steps, losses: (T,), (T, N)."""
    figure, axes = canvas(1, 2, width=7.2, height=3.0, sharey=True)
    for ax, labels, title in ((axes[0], clusters.labels, "clusters found"), (axes[1], task, "true skills")):
        for k in sorted(set(labels.tolist())):
            own = labels == k
            ax.plot(
                steps,
                losses[:, own].mean(1),
                color=PALETTE[k % len(PALETTE)],
                linewidth=1,
                label=f"{own.sum()}",
            )
        ax.plot(steps, losses.mean(1), color=NULL_COLOR, linewidth=2, label=f"{len(labels)}: mean of all")
        ax.set(xlabel="training step", title=title)
        ax.legend(title="samples", fontsize=6, loc="upper right")
    axes[0].set_ylabel("loss")
    return figure
