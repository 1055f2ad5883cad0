"""The doubted toy: do 50 neurons compute 100 features, or do they undo the noise that the embedding puts in the labels?

The residual MLP is asked for x + relu(x), and its stream already brings x W_E W_E^T with random unit rows in W_E. So its
neurons are asked for relu(x) and, beside it, for x (I - W_E W_E^T). The same networks are trained on labels with and
without that matrix, beside a solution that can be written down: neurons that each do one feature, and nothing else.
A decomposition of all three says whether its parts are those of a computation or of the labels' noise.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from digsite.base.intervals import seed_interval
from digsite.base.streams import derive_seed
from digsite.decompose.config import LabelsConfig
from digsite.decompose.core.fit import Fit, Problem
from digsite.decompose.core.guarding import train_fit
from digsite.decompose.judge.score import find_owned_features, probe_importance
from digsite.decompose.subjects import targets
from digsite.figures import curves
from digsite.record.verdict import cite

if TYPE_CHECKING:
    from digsite.worker.run import Run

KINDS = {"published": "labels as published", "clean": "labels without the embedding's noise"}
NOISY = {"published"}
WRITTEN = "written"
SITES = ("layers.0.mlp_in", "layers.0.mlp_out")
TOLERANCE = 0.2  # an importance above it counts, one below the rest to one does not count as one


def study_labels(config: LabelsConfig, run: Run) -> None:
    """Gain over the written-down solution and share in the noise's eigenspace, on either kind of labels, over seeds."""
    networks = {kind: train_networks(config, run, kind) for kind in KINDS}
    rows = [row for kind in KINDS for row in audit_kind(config, networks[kind], kind)]
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
        + (take_apart(config, run, networks) if config.decomposed else "")
    )


def train_networks(config: LabelsConfig, run: Run, kind: str) -> list[nn.Module]:
    """One network per seed; the same starts and batches for either kind."""
    starts = [derive_seed(config.seed + k, "labels") % 2**31 for k in range(config.seeds)]
    states = run.once(
        kind,
        lambda: [
            network.state_dict()
            for network in targets.train_once(config.target, starts, clean=kind not in NOISY)
        ],
    )
    networks = [targets.build_untrained(config.target, 0) for _ in states]
    for network, state in zip(networks, states, strict=True):
        network.load_state_dict(state)
    return networks


def audit_kind(config: LabelsConfig, networks: list[nn.Module], kind: str) -> list[dict[str, Any]]:
    """One row per seed."""
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


def take_apart(config: LabelsConfig, run: Run, networks: dict[str, list[nn.Module]]) -> str:
    """Parts of some networks of each kind, and of the written-down solution in the same embeddings; a sentence on them."""
    few = {kind: own[: config.decomposed] for kind, own in networks.items()}
    few[WRITTEN] = [write_solution(network) for network in few["published"]]
    rows = [
        {"kind": kind, "seed": config.seed + k, **row}
        for kind, own in few.items()
        for k, row in enumerate(
            run.once(f"parts-{kind}", lambda kind=kind, own=own: decompose_networks(config, run, kind, own))
        )
    ]
    run.table("parts", {key: [row[key] for row in rows] for key in rows[0]})
    words = KINDS | {WRITTEN: "one feature a neuron, written down"}
    for key, title in (
        ("owned", "Features with one input part of their own"),
        ("served", "Features that an output part serves, mean over parts"),
    ):
        written = [row[key] for row in rows if row["kind"] == WRITTEN]
        for kind, what in words.items():
            spread = seed_interval([row[key] for row in rows if row["kind"] == kind], "difference")
            null = {} if kind == WRITTEN else {"null": sum(written) / len(written), "null_is": words[WRITTEN]}
            run.claim(
                f"{key}/{kind}",
                interval=spread,
                kind="difference",
                title=f"{title}, {what}",
                note="share of all features",
                **null,
            )
    return (
        f" Taken apart, {cite('owned/published', style='.0%')} of the features have an input part of their own on the published "
        f"labels and {cite('owned/clean', style='.0%')} without the noise, and an output part serves "
        f"{cite('served/published', style='.0%')} of them beside {cite('served/clean', style='.0%')}; in the solution written "
        f"down it is {cite('owned/written', style='.0%')} and {cite('served/written', style='.0%')}."
    )


@torch.no_grad()
def write_solution(network: nn.Module) -> nn.Module:
    """The network whose neuron i computes relu of feature i and nothing else, in the same embedding; later features go without.

    What neurons read and write are columns of the embedding's inverse, so no feature leaks into another.
    """
    written = deepcopy(network)
    inverse = torch.linalg.pinv(written.get_parameter("W_E"))  # (stream, features)
    reads, writes = (written.get_parameter(f"{site}.weight") for site in SITES)
    reads.copy_(inverse[:, : len(reads)].T)
    writes.copy_(inverse[:, : len(reads)])
    return written


def decompose_networks(
    config: LabelsConfig, run: Run, kind: str, networks: list[nn.Module]
) -> list[dict[str, Any]]:
    """One row per network: parts in use of either matrix, and how features are spread over them."""
    sample = targets.sample_features(config.target, config.decompose.batch)
    seeds = [derive_seed(config.seed + k, f"parts-{kind}") % 2**31 for k in range(len(networks))]
    fit = Fit(Problem(networks, list(SITES), sample), config.decompose, seeds, device=run.device)

    def show(step: int, terms: dict[str, Tensor]) -> None:
        if step % 100 == 0:
            run.log(step, **{f"{kind}/{name}": float(values.mean()) for name, values in terms.items()})
        run.let_signals_in()

    train_fit(fit, show)
    features = config.target.model.n_features
    return [
        count_parts(*(probe_importance(fit.make_decomposition(k), features)[site] for site in SITES))
        for k in range(len(networks))
    ]


def count_parts(reads: Tensor, writes: Tensor) -> dict[str, Any]:
    """From importances (features, C) of the parts that read and of those that write."""
    touched = writes > TOLERANCE
    alive = touched.any(0)
    return {
        "alive_in": int((reads > TOLERANCE).any(0).sum()),
        "owned": float(find_owned_features(reads.double().cpu().numpy(), TOLERANCE).mean()),
        "alive_out": int(alive.sum()),
        "served": float(touched[:, alive].double().mean()) if alive.any() else 0.0,
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
