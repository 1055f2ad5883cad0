"""What can go: how much of each matrix the smallest weights hold, and is there structure in which they are."""

import math
from math import prod

import numpy as np
from scipy.stats import false_discovery_control, norm
from torch import Tensor

from digsite.joint.core.statements import Allowance, Answer, Statement, count_words, skip
from digsite.joint.subjects.model import Subject
from digsite.prune import null_test, prune_matrix

ORDER, QUESTION, WEIGHT = 5, "What can go?", 3.0
DEEPER = "digsite prune MODEL --sparsity 0.5 --out DIR"
SHARES = (0.3, 0.5, 0.7)
SIDE = 512  # features and positions of a mask that are tested for structure
DRAWS = 39
_MATRICES, _READ = 12, 1 << 20  # matrices that are looked at, and numbers of each


def examine(subject: Subject, allowance: Allowance) -> Answer:
    """Twelve matrices, evenly from first to last, as far as the time goes."""
    names = _chosen(subject)
    if not names:
        return skip("there is no matrix of 16 rows and columns or more")
    rows, left_out = [], 0
    for name, weight in subject.tensors():
        if name not in names:
            continue
        if allowance.is_used and rows:
            left_out += 1
            continue
        low, high = (
            float(end) for end in weight.aminmax()
        )  # a table of truths beside an embedding is as large as it
        if math.isfinite(low) and math.isfinite(high) and (low or high):
            rows.append({"matrix": name, **_losses(weight), **_structure(weight, len(rows))})
    if not rows:
        return skip("its matrices hold nothing but zeros, or numbers that are not finite")
    q = false_discovery_control([row["p"] for row in rows])
    for row, value in zip(rows, q, strict=True):
        row["q"] = float(value)
    skipped = f"{left_out} of {len(names)} chosen matrices for lack of time" if left_out else ""
    return Answer((*_say_losses(rows), _say_structure(rows)), skipped, {"pruning": rows})


def _chosen(subject: Subject) -> set[str]:
    named = [
        name for name, shape, _ in subject.shapes() if len(shape) > 1 and min(shape[0], prod(shape[1:])) >= 16
    ]
    places = np.unique(np.linspace(0, len(named) - 1, min(_MATRICES, len(named))).round().astype(int))
    return {named[i] for i in places}


def _losses(weight: Tensor) -> dict[str, float]:
    """Share of the squared norm that goes with the smallest weights: the output error under white inputs."""
    flat = weight.detach().flatten()
    squared = flat[:: max(1, len(flat) // _READ)].float().square().sort().values.double().cumsum(0)
    return {
        f"lost at {share:.0%}": float(squared[round(share * len(squared)) - 1] / squared[-1])
        for share in SHARES
    }


def gaussian_loss(share: float) -> float:
    """The same of normal weights in closed form: E[x^2; |x| < t] with P(|x| < t) = share."""
    t = float(norm.ppf((1 + share) / 2))
    return share - 2 * t * float(norm.pdf(t))


def _structure(weight: Tensor, seed: int) -> dict[str, float]:
    """Does the half that stays make features alike beyond what row and column densities force?"""
    flat = weight.detach().flatten(1)[:SIDE, :SIDE].float()
    keep = prune_matrix(flat, method="magnitude", sparsity=0.5, measure=False).keep.numpy()
    (test,) = null_test(keep, axis="rows", statistics=("nearest_phi",), draws=DRAWS, seed=seed)
    return {"phi": test.observed, "null phi": test.null_mean, "p": test.p}


def _say_middle(n: int) -> str:
    return f"median of {n} matrices" if n > 1 else "of its only matrix"


def _say_losses(rows: list[dict]) -> list[Statement]:
    said = []
    for share in SHARES:
        values = [row[f"lost at {share:.0%}"] for row in rows]
        value, null = float(np.median(values)), gaussian_loss(share)
        said.append(
            Statement(
                f"lost/{share:.0%}",
                f"share of the squared norm in the smallest {share:.0%}, median and range",
                f"The smallest {share:.0%} of a matrix's weights hold {value:.1%} of its squared norm ({_say_middle(len(rows))}), "
                f"where normal weights hold {null:.1%} and as many chosen at random {share:.0%}: the less, the more can go by size alone.",
                "normal weights of the same number, in closed form",
                value,
                float(np.min(values)),
                float(np.max(values)),
                null,
                n=len(rows),
                better="lower",
                quote=share == 0.5,
            )
        )
    return said


def _say_structure(rows: list[dict]) -> Statement:
    beyond = [row for row in rows if row["q"] < 0.05]
    text = (
        f"In {len(beyond)} of {count_words(len(rows), 'mask', 'masks')} of half the weights, rows are more alike than their densities force."
        if beyond
        else f"No structure beyond row and column densities in {count_words(len(rows), 'mask', 'masks')} of half the weights."
    )
    beside = f"{DRAWS} masks with the same margins, false discovery rate over the matrices"
    return Statement(
        "structure",
        "masks with structure beyond their densities",
        text,
        beside,
        float(len(beyond)),
        null=0.05 * len(rows),
        p=min(row["q"] for row in rows),
        n=len(rows),
    )
