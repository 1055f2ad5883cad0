"""The doubted toy: do 50 neurons compute 100 features, or do they undo the noise that the embedding puts in the labels?

The residual MLP is asked for x + relu(x), and its stream already brings x W_E W_E^T with random unit rows in W_E. So its
neurons are asked for relu(x) and, beside it, for x (I - W_E W_E^T). The same networks are trained on labels with and
without that matrix, beside a solution that can be written down: neurons that each do one feature, and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from digsite.base.intervals import seed_interval
from digsite.base.streams import derive_seed
from digsite.decompose.config import LabelsConfig
from digsite.decompose.subjects import targets
from digsite.figures import curves
from digsite.record.verdict import cite

if TYPE_CHECKING:
    from digsite.worker.run import Run

KINDS = {"published": "labels as published", "clean": "labels without the embedding's noise"}
NOISY = {"published"}


def study_labels(config: LabelsConfig, run: Run) -> None:
    """Gain over the written-down solution and share in the noise's eigenspace, on either kind of labels, over seeds."""
    rows = [row for kind in KINDS for row in run.once(kind, lambda kind=kind: audit_kind(config, kind))]
    half = config.target.model.d_mlp  # pyright: ignore[reportAttributeAccessIssue]
    features = config.target.model.n_features
    for kind, words in KINDS.items():
        own = [row for row in rows if row["kind"] == kind]
        gain = seed_interval([row["gain"] for row in own], "difference")
        run.claim(
            f"gain/{kind}",
            interval=gain,
            kind="difference",
            null=0.0,
            null_is=f"{half} neurons that each do one feature, written down",
            better="higher",
            title=f"Error that training saves over one feature a neuron, {words}",
        )
        share = seed_interval([row["share"] for row in own], "difference")
        run.claim(
            f"share/{kind}",
            interval=share,
            kind="difference",
            null=half / features,
            null_is="directions drawn at random",
            title=f"Share of what neurons read in the top {half} eigenvectors of the noise, {words}",
        )
    run.table(
        "networks",
        {key: [row[key] for row in rows] for key in ("kind", "seed", "loss", "written", "gain", "share")},
    )
    keep_figure(run, rows, features)
    run.headline(["gain/published", "gain/clean", "share/published", "share/clean"], hero="eigenspace")
    run.verdict(
        f"On the published labels trained neurons save {cite('gain/published', style='.0%')} of the error of as many "
        f"that each do one feature, and {cite('share/published', style='.0%')} of what they read lies in the top eigenvectors "
        f"of the labels' noise. Without the noise they save {cite('gain/clean', style='.0%')}, and the share is "
        f"{cite('share/clean', style='.0%')}, where random directions have {cite('share/clean', 'null', '.0%')}."
    )


def audit_kind(config: LabelsConfig, kind: str) -> list[dict[str, Any]]:
    """One row per seed; the same starts and batches for either kind."""
    starts = [derive_seed(config.seed + k, "labels") % 2**31 for k in range(config.seeds)]
    networks = targets.train_once(config.target, starts, clean=kind not in NOISY)
    return [
        {"kind": kind, "seed": config.seed + k, **audit_network(config, network, kind)}
        for k, network in enumerate(networks)
    ]


@torch.no_grad()
def audit_network(config: LabelsConfig, network: Any, kind: str) -> dict[str, Any]:
    """Losses beside the written-down solution, and how much of what neurons read lies along each eigenvector."""
    embedding: Tensor = network.W_E
    overlap = embedding @ embedding.T
    loss = written = 0.0
    for i in range(config.batches):
        x = targets.sample_features(config.target, config.target.batch)(torch.Generator().manual_seed(i))
        wanted = (x if kind in NOISY else x @ overlap) + x.relu()
        loss += float((network(x) - wanted).square().mean()) / config.batches
        one_each = x @ overlap
        n = network.config.d_mlp
        one_each[:, :n] += x[:, :n].relu()
        written += float((one_each - wanted).square().mean()) / config.batches
    _, vectors = torch.linalg.eigh(torch.eye(len(overlap)).double() - overlap.double())
    reads = (embedding @ network.layers[0].mlp_in.weight.T).double()  # (features, neurons)
    along = ((vectors.T @ reads).square() / reads.square().sum(0)).mean(1).flip(0)  # largest eigenvalue first
    share = float(along[: network.config.d_mlp].sum())
    return {
        "loss": loss,
        "written": written,
        "gain": 1 - loss / written,
        "share": share,
        "along": along.tolist(),
    }


def keep_figure(run: Run, rows: list[dict[str, Any]], features: int) -> None:
    """Cumulated share of what neurons read, over eigenvectors from the largest eigenvalue on, means over seeds."""
    ranks = list(range(1, features + 1))
    lines = {
        words: torch.tensor([row["along"] for row in rows if row["kind"] == kind]).mean(0).cumsum(0).tolist()
        for kind, words in KINDS.items()
    }
    lines["random directions"] = [k / features for k in ranks]
    figure = curves(
        {words: (ranks, values) for words, values in lines.items()},
        x="eigenvectors of I - W_E W_E^T, largest eigenvalue first",
        y="share of what neurons read",
        nulls=["random directions"],
    )
    columns = {"eigenvectors": ranks, **lines}
    caption = (
        "Above the line neurons read what the labels' noise asks for; on it they read all features alike."
    )
    run.figure("eigenspace", figure, columns, caption=caption)
