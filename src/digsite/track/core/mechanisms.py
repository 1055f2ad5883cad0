"""What changed inside: attention, weights, filters, induction heads and selectivity of units, each beside its chance level.

Pure functions on tensors. A number that is bounded, biased or scale-bound is given in shares of what is possible, beside permuted or
shuffled versions of itself, or free of the layer's scale: otherwise two moments of training cannot be compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from digsite.base.contract import Numbers, public_method
from digsite.base.errors import UsageError
from digsite.track.core import spectrum
from digsite.track.core.measures.spectral import ParticipationRatioVariance, StableRank


@dataclass(frozen=True)
class Specialization:
    """`index` is the largest minus the smallest head entropy; 0 when all heads look alike."""

    per_head: tuple[float, ...]
    mean: float
    low: float
    high: float
    sd: float
    index: float


@public_method(probabilities=Numbers(4), visible=Numbers(2, whole=True, optional=True))
def attention_entropy(
    probabilities: Float[Tensor, "batch head query key"], visible: Bool[Tensor, "query key"] | None = None
) -> Float[Tensor, "head"]:
    """Mean entropy of each head's rows over ln(visible keys): 1 is uniform, 0 is one key.

    The rows are probabilities and are used as they are. A query that sees one key has no choice and is left out.
    `visible` is found from the zeros above the diagonal when it is not given.
    """
    p = _check_attention(probabilities)
    seen = _visible_keys(p) if visible is None else visible
    keys = seen.sum(-1)
    open_rows = keys > 1
    if not bool(open_rows.any()):
        raise UsageError("No query sees more than one key: attention entropy is undefined.")
    entropy = torch.special.entr(p.double()).sum(-1)
    share = entropy[..., open_rows] / keys[open_rows].double().log()
    return share.mean((0, 2)).float()


@public_method(probabilities=Numbers(4), visible=Numbers(2, whole=True, optional=True))
def attention_specialization(
    probabilities: Float[Tensor, "batch head query key"], visible: Bool[Tensor, "query key"] | None = None
) -> Specialization:
    """How differently the heads attend: the spread of their entropies.

    `probabilities` sum to one over the last axis; `visible` is True where a query may look, so that a causal
    mask does not count as focus.
    """
    heads = attention_entropy(probabilities, visible)
    low, high = float(heads.min()), float(heads.max())
    sd = float(heads.std(correction=0))
    return Specialization(tuple(heads.tolist()), float(heads.mean()), low, high, sd, high - low)


def head_distinctness(probabilities: Float[Tensor, "batch head query key"]) -> float:
    """Mean Jensen-Shannon divergence of each head from the heads' average, in shares of ln(heads)."""
    p = _check_attention(probabilities).double()
    heads = p.shape[1]
    if heads < 2:
        return 0.0
    mixed = torch.special.entr(p.mean(1)).sum(-1)
    alone = torch.special.entr(p).sum(-1).mean(1)
    return float((mixed - alone).mean() / torch.tensor(float(heads)).log())


def _check_attention(p: Tensor) -> Tensor:
    """Probabilities and not scores, whose entropy would be a number about nothing."""
    if p.ndim != 4:
        raise UsageError(f"Attention has the shape (batch, head, query, key); this has {tuple(p.shape)}.")
    sums = p.sum(-1)
    if not torch.allclose(sums, torch.ones_like(sums), atol=1e-3) or bool((p < -1e-6).any()):
        raise UsageError(
            "These are not attention probabilities: a row does not sum to 1.", hint="Apply softmax to scores."
        )
    return p.clamp_min(0)


def _visible_keys(p: Tensor) -> Tensor:
    """Causal when everything above the diagonal is zero, else all keys."""
    queries, keys = p.shape[-2:]
    causal = torch.ones(queries, keys, dtype=torch.bool, device=p.device).tril(keys - queries)
    hidden = p[..., ~causal]
    return causal if hidden.numel() and not bool((hidden > 0).any()) else torch.ones_like(causal)


# Weights and activations: how far they moved, along how many directions, and how many are near zero.


@dataclass(frozen=True)
class WeightChange:
    """Ranks are of the update: a low one means that the layer grew along few directions."""

    l2_norm: float
    relative: float
    largest: float
    mean: float
    cosine: float
    update_stable_rank: float
    update_participation_ratio: float


@public_method(before=Numbers(), after=Numbers())
def weight_change(before: Float[Tensor, "..."], after: Float[Tensor, "..."]) -> WeightChange:
    """The update's size, direction and rank.

    `before` and `after` are weights of one shape.
    """
    if before.shape != after.shape:
        raise UsageError(
            f"Weights of shapes {tuple(before.shape)} and {tuple(after.shape)} cannot be compared."
        )
    a, b = before.detach().double(), after.detach().double()
    update = b - a
    values = spectrum.table_spectrum(update.reshape(len(update), -1) if update.ndim > 1 else update[None, :])
    norms = a.norm() * b.norm()
    return WeightChange(
        l2_norm=float(update.norm()),
        relative=float(update.norm() / a.norm().clamp_min(1e-300)),
        largest=float(update.abs().max()),
        mean=float(update.abs().mean()),
        cosine=float((a * b).sum() / norms.clamp_min(1e-300)),
        update_stable_rank=float(StableRank.measure(values)),
        update_participation_ratio=float(ParticipationRatioVariance.measure(values)),
    )


@public_method(activations=Numbers())
def activation_sparsity(activations: Float[Tensor, "..."], threshold: float = 0.1) -> float:
    """Share of activations within `threshold` root mean squares of zero: free of the layer's scale."""
    scale = activations.double().square().mean().sqrt()
    if float(scale) == 0:
        return 1.0
    return float((activations.double().abs() <= threshold * scale).double().mean())


# Filters: the same up to order? Cosine after the best matching, beside scrambled filters.


@dataclass(frozen=True)
class FilterMatch:
    """`matched` is the mean cosine after matching, `in_place` without; `null` is `matched` for scrambled filters."""

    matched: float
    in_place: float
    moved: float
    null: float
    p: float


@public_method(before=Numbers(rows=2), after=Numbers(rows=2))
def filter_similarity(
    before: Float[Tensor, "out ..."],
    after: Float[Tensor, "..."],
    generator: torch.Generator,
    *,
    draws: int = 20,
) -> FilterMatch:
    """The null scrambles the weights within each filter: matching finds something even in noise.

    `before` and `after` are filters (out, ...), `generator` draws the null, `draws` times.
    """
    if before.shape != after.shape:
        raise UsageError(
            f"Filters of shapes {tuple(before.shape)} and {tuple(after.shape)} cannot be matched."
        )
    a, b = _unit_filters(before), _unit_filters(after)
    value, order = _match_filters(a, b)
    null = [_match_filters(_scramble_filters(a, generator), b)[0] for _ in range(draws)]
    p = (1 + sum(other >= value for other in null)) / (draws + 1)
    in_place = float((a * b).sum(-1).mean())
    moved = float((order != torch.arange(len(a))).float().mean())
    return FilterMatch(value, in_place, moved, float(sum(null) / draws), p)


@public_method(filters=Numbers(rows=2))
def filter_overlap(filters: Float[Tensor, "out ..."]) -> float:
    """Mean squared cosine between two filters of one layer, in units of what random directions have (1 / weights).

    0: orthogonal; 1: random; the number of weights in a filter: all alike. `filters`: one row each, further axes are
    flattened.
    """
    unit = _unit_filters(filters)
    n, d = unit.shape
    squared = (unit @ unit.T).square()
    return float((squared.sum() - squared.diagonal().sum()) / (n * (n - 1)) * d)


def _unit_filters(filters: Tensor) -> Tensor:
    """Each filter as a vector of length one."""
    flat = filters.detach().flatten(1).double()
    return flat / flat.norm(dim=1, keepdim=True).clamp_min(1e-12)


def _match_filters(a: Tensor, b: Tensor) -> tuple[float, Tensor]:
    """Mean cosine of the best one-to-one match: filters may change places in training."""
    cosine = a @ b.T
    rows, columns = linear_sum_assignment(-cosine.numpy())
    return float(cosine[rows, columns].mean()), torch.as_tensor(columns)


def _scramble_filters(filters: Tensor, generator: torch.Generator) -> Tensor:
    """The null: the same values of each filter in another order."""
    order = torch.rand(filters.shape, generator=generator).argsort(dim=1)
    return filters.gather(1, order)


# Induction heads: prefix matching and copying (Olsson et al. 2022), with their chance levels.


def repeated_tokens(
    n_vocab: int, batch: int, half: int, generator: torch.Generator, *, first: int = 0
) -> Int[Tensor, "batch twice"]:
    """Random tokens said twice: only their order in the first half predicts the second."""
    once = torch.randint(first, n_vocab, (batch, half), generator=generator)
    return torch.cat([once, once], 1)


@public_method(probabilities=Numbers(4), tokens=Numbers(2, whole=True))
def prefix_matching(
    probabilities: Float[Tensor, "batch head query key"], tokens: Int[Tensor, "batch query"]
) -> Float[Tensor, "head"]:
    """Attention from a token to what followed its earlier occurrences, averaged over queries that have one.

    `probabilities` of one layer's heads on `tokens`. One for a perfect induction head.
    """
    target = _follower_keys(tokens)
    has = target.any(-1)
    weight = (probabilities * target[:, None]).sum(-1)
    return (weight * has[:, None]).sum((0, 2)) / has.sum().clamp_min(1)


def prefix_matching_chance(tokens: Int[Tensor, "batch query"]) -> float:
    """What uniform causal attention scores."""
    target = _follower_keys(tokens)
    has = target.any(-1)
    visible = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
    return float(((target.sum(-1) / visible) * has).sum() / has.sum().clamp_min(1))


def _follower_keys(tokens: Tensor) -> Tensor:
    """(batch, query, key): key - 1 holds the same token as the query, and lies before it."""
    same = tokens[:, :, None] == tokens[:, None, :]
    target = torch.zeros_like(same)
    target[:, :, 1:] = same[:, :, :-1]
    n = tokens.shape[1]
    return target & torch.ones(n, n, dtype=torch.bool, device=tokens.device).tril()


def copying_score(ov_circuit: Float[Tensor, "token token"]) -> float:
    """Share of eigenvalue mass of unembed-value-embed that is positive, from -1 to 1; a random matrix has about 0."""
    values = torch.linalg.eigvals(ov_circuit.double())
    return float(values.real.sum() / values.abs().sum().clamp_min(1e-300))


def head_circuits(
    embed: Float[Tensor, "token d"],
    value: Float[Tensor, "d d"],
    output: Float[Tensor, "d d"],
    unembed: Float[Tensor, "token d"],
    n_heads: int,
) -> Float[Tensor, "head token token"]:
    """What each head writes to the logits when it looks at a token; weights as nn.Linear holds them, norms left out."""
    values = value.unflatten(0, (n_heads, -1))
    outputs = output.unflatten(1, (n_heads, -1)).movedim(1, 0)
    return unembed @ outputs @ values @ embed.T


def in_context_score(losses: Float[Tensor, "batch position"], early: int, late: int) -> float:
    """Loss at a late position minus loss at an early one: more negative is more learning in context."""
    return float((losses[:, late] - losses[:, early]).mean())


# Selectivity of single units and their information about the class, beside shuffled labels.


@dataclass(frozen=True)
class Selectivity:
    """Means over units; `*_null` are the same with shuffled labels; `p` asks whether information exceeds it."""

    index: float
    index_null: float
    information: float
    information_null: float
    p: float
    class_means: Float[Tensor, "feature class"]


@public_method(activations=Numbers(2, rows=2), labels=Numbers(1, whole=True))
def activation_selectivity(
    activations: Float[Tensor, "n feature"],
    labels: Int[Tensor, "labels"],
    generator: torch.Generator,
    *,
    draws: int = 20,
) -> Selectivity:
    """Index: (largest class mean - mean of the others) over their sum, activations shifted to zero (Morcos 2018).

    Information: bits about the class in a unit's activation cut into eight equally filled bins. Both are biased up by
    finite samples, which is what the shuffles show. Neither depends on the scale of the activations.

    `labels` are classes from 0; the null shuffles them `draws` times by `generator`.
    """
    if len(activations) != len(labels):
        raise UsageError(f"{len(activations)} rows of activations have {len(labels)} labels.")
    if len(labels.unique()) < 2:
        raise UsageError("Selectivity needs at least two classes.")
    x = activations.double()
    bins = _equal_bins(x)
    classes = labels.unique(return_inverse=True)[1]
    means = class_means(x, classes)
    information = _class_information(bins, classes)
    shuffled = [classes[torch.randperm(len(classes), generator=generator)] for _ in range(draws)]
    null_information = [float(_class_information(bins, other).mean()) for other in shuffled]
    null_index = [float(_selectivity_index(class_means(x, other), x).mean()) for other in shuffled]
    value = float(information.mean())
    return Selectivity(
        index=float(_selectivity_index(means, x).mean()),
        index_null=sum(null_index) / draws,
        information=value,
        information_null=sum(null_information) / draws,
        p=(1 + sum(other >= value for other in null_information)) / (draws + 1),
        class_means=means.float(),
    )


def class_means(x: Tensor, classes: Tensor) -> Tensor:
    """(units, classes)."""
    member = torch.nn.functional.one_hot(classes).to(x.dtype)
    return (x.T @ member) / member.sum(0)


def _selectivity_index(means: Tensor, x: Tensor) -> Tensor:
    """(best - mean of others) / (best + mean of others), per unit."""
    raised = means - x.min(0).values[:, None]
    top = raised.max(1).values
    rest = (raised.sum(1) - top) / (raised.shape[1] - 1)
    return (top - rest) / (top + rest).clamp_min(1e-12)


def _equal_bins(x: Tensor, count: int = 8) -> Tensor:
    """Ranks in eight equal bins; equal values share a bin, so a silent unit carries no information."""
    edges = x.quantile(torch.linspace(0, 1, count + 1, dtype=x.dtype)[1:-1], dim=0)
    return torch.searchsorted(edges.T.contiguous(), x.T.contiguous())


def _class_information(bins: Tensor, classes: Tensor) -> Tensor:
    """Bits that a unit's binned activity tells of the class."""
    n_classes, n_bins = int(classes.max()) + 1, int(bins.max()) + 1
    joint = torch.nn.functional.one_hot(bins * n_classes + classes, n_bins * n_classes).double().mean(1)
    joint = joint.reshape(-1, n_bins, n_classes)
    entropy = lambda p: torch.special.entr(p).flatten(1).sum(1)  # noqa: E731
    bits = entropy(joint.sum(2)) + entropy(joint.sum(1)) - entropy(joint)
    return bits / torch.log(torch.tensor(2.0, dtype=torch.float64))
