"""Merges that average the parents, each weight counting in its own way, and those that add what each changed of one start."""

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.base.errors import UsageError
from digsite.base.streams import derive_seed
from digsite.graft.core.merges import Evidence, Merge, MergeSettings, State

FLOOR = (
    1e-10  # Fisher: keeps 0/0 from happening and makes the plain average of weights that nothing depends on
)
RIDGE = 1e-6  # RegMean: of the mean diagonal, so that a map whose inputs never vary can be inverted
NEARLY = 1e-4  # slerp: of the angle; below it the circle and the line are the same


class Average(Merge):
    """The plain average of the parents' weights (model soups, arXiv 2203.05482)."""

    @staticmethod
    def merge_states(parents: list[State], evidence: Evidence, settings: MergeSettings) -> State:
        """The weighted sum by the settings' shares."""
        return average_states(parents, settings.split_shares(len(parents)))


class Slerp(Merge):
    """Along the great circle between two parents, each weight tensor apart, its length on the line between theirs."""

    @staticmethod
    def merge_states(parents: list[State], evidence: Evidence, settings: MergeSettings) -> State:
        """The point at the second parent's share of the way."""
        if len(parents) != 2:
            raise UsageError(
                f"slerp merges two models, and {len(parents)} were given.", hint="Use average for more."
            )
        share = settings.split_shares(2)[1]
        return {name: _turn_between(parents[0][name], parents[1][name], share) for name in parents[0]}


class Fisher(Merge):
    """Fisher merging: every weight is the mean of the parents', each counting by how sharply its loss depends on it.

    The diagonal Fisher information is the mean squared gradient of the log-likelihood of the model's own answers
    (Matena and Raffel, arXiv 2111.09832). A weight that no parent depends on is the plain average.
    """

    NEEDS = ("fisher",)

    @staticmethod
    def merge_states(parents: list[State], evidence: Evidence, settings: MergeSettings) -> State:
        """The mean by information times share."""
        shares, out = settings.split_shares(len(parents)), {}
        for name, first in parents[0].items():
            weights = [
                share * (fisher.get(name, torch.zeros_like(first)) + FLOOR)
                for share, fisher in zip(shares, evidence.fisher, strict=True)
            ]
            total = torch.stack(weights).sum(0)
            weighted = [w * p[name] for w, p in zip(weights, parents, strict=True)]
            out[name] = torch.stack(weighted).sum(0) / total
        return out


class Regmean(Merge):
    """RegMean: every linear map is the one whose outputs are nearest to all parents' on what each of them reads.

    The least-squares answer in closed form, W = (sum W_i G_i) (sum G_i)^-1 with G_i = X_i^T X_i, the off-diagonal shrunk
    as published (Jin et al., arXiv 2212.09849). What is not a linear map is averaged.
    """

    NEEDS = ("grams",)

    @staticmethod
    def merge_states(parents: list[State], evidence: Evidence, settings: MergeSettings) -> State:
        """Least squares for every weight with a Gram matrix in `evidence.grams`, the average for the rest."""
        shares = settings.split_shares(len(parents))
        out = average_states(parents, shares)
        for name in out:
            grams = [gram[name] for gram in evidence.grams if name in gram]
            if len(grams) == len(parents):
                out[name] = _solve_map([p[name] for p in parents], grams, shares, settings.shrink)
        return out


def average_states(parents: list[State], shares: list[float]) -> State:
    """The weighted sum of the parents, by name."""
    return {
        name: torch.stack([s * p[name] for s, p in zip(shares, parents, strict=True)]).sum(0)
        for name in parents[0]
    }


def _turn_between(a: Tensor, b: Tensor, share: float) -> Tensor:
    """One tensor on the great circle; nearly parallel ones are on the line, where the formula would divide by zero."""
    cosine = (a * b).sum() / (a.norm() * b.norm()).clamp_min(1e-12)
    angle = torch.arccos(cosine.clamp(-1, 1))
    if float(torch.sin(angle)) < NEARLY:
        return torch.lerp(a, b, share)
    return (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / torch.sin(angle)


def _solve_map(
    weights: list[Float[Tensor, "out in"]],
    grams: list[Float[Tensor, "in in"]],
    shares: list[float],
    shrink: float,
) -> Float[Tensor, "out in"]:
    """RegMean's map of one layer; `shrink` is what is kept of the off-diagonal of each Gram matrix."""
    kept = [shrink * gram + (1 - shrink) * torch.diag(gram.diag()) for gram in grams]
    shrunk = [share * gram for share, gram in zip(shares, kept, strict=True)]
    wanted = torch.stack([w @ gram for w, gram in zip(weights, shrunk, strict=True)]).sum(0)
    total = torch.stack(shrunk).sum(0)
    total = total + RIDGE * total.diag().mean() * torch.eye(len(total))
    return torch.linalg.solve(total.double(), wanted.double().T).T.to(weights[0].dtype)


def measure_fisher(model: nn.Module, rows: Int[Tensor, "n length"], draw: torch.Generator) -> State:
    """Diagonal Fisher information per token, by weight: mean squared gradient of the log-likelihood of the model's own answers.

    `model`: tokens (n, length) to logits (n, length, vocabulary). `rows`: what it reads. `draw`: of the answers. They are
    drawn from the model, as the definition has it; with the text's own words one would get the empirical Fisher, which is
    another thing where the model is not right. One row at a time, so that gradients do not cancel.
    """
    names = [name for name, _ in model.named_parameters()]
    parameters = list(model.parameters())
    total = [torch.zeros_like(p) for p in parameters]
    for row in rows.split(1):
        said = model(row)[:, :-1].flatten(0, 1)
        drawn = torch.multinomial(said.detach().softmax(-1), 1, generator=draw).flatten()
        loss = F.cross_entropy(said, drawn, reduction="sum")
        for into, gradient in zip(total, torch.autograd.grad(loss, parameters), strict=True):
            into += gradient.square()
    return {name: t / rows[:, 1:].numel() for name, t in zip(names, total, strict=True)}


@torch.no_grad()
def measure_grams(model: nn.Module, rows: Shaped[Tensor, "n ..."]) -> State:
    """X^T X (in, in) per token of what every linear map of `model` reads on `rows`, by the name of its weight."""
    grams: State = {}
    handles = []

    def make_reader(name: str):
        def add_gram(_module: nn.Module, args: tuple) -> None:
            x = args[0].flatten(0, -2).float()
            grams[name] = grams.get(name, torch.zeros(())) + x.T @ x / len(x)

        return add_gram

    for name, module in model.named_modules():
        if type(module) is nn.Linear:
            handles.append(module.register_forward_pre_hook(make_reader(f"{name}.weight")))
    try:
        model(rows)
    finally:
        for handle in handles:
            handle.remove()
    return grams


class TaskArithmetic(Merge):
    """The start plus the scaled sum of what each fine-tuning changed (arXiv 2212.04089)."""

    NEEDS = ("start",)

    @staticmethod
    def merge_states(parents: list[State], evidence: Evidence, settings: MergeSettings) -> State:
        """Every change counts `settings.scale`."""
        assert evidence.start is not None, "checked by merge_models"
        return sum_changes(evidence.start, parents, settings.scale)


class Ties(Merge):
    """TIES: trim each change to its largest entries, elect one sign per weight, average those that agree (2306.01708)."""

    NEEDS = ("start",)

    @staticmethod
    def merge_states(parents: list[State], evidence: Evidence, settings: MergeSettings) -> State:
        """Of each change `settings.keep` of its entries; the merged change counts `settings.scale`."""
        assert evidence.start is not None, "checked by merge_models"
        return merge_by_ties(evidence.start, parents, settings.keep, settings.scale)


class Dare(Merge):
    """DARE: drop entries of each change at random and scale up the others, then add (arXiv 2311.03099)."""

    NEEDS = ("start",)

    @staticmethod
    def merge_states(parents: list[State], evidence: Evidence, settings: MergeSettings) -> State:
        """Every entry is dropped with probability `settings.drop`, by draws of `settings.seed`."""
        assert evidence.start is not None, "checked by merge_models"
        out = {name: weight.clone() for name, weight in evidence.start.items()}
        for i, parent in enumerate(parents):
            draw = torch.Generator().manual_seed(derive_seed(settings.seed, "graft/dare", i))
            for name, weight in evidence.start.items():
                out[name] += settings.scale * _thin_change(parent[name] - weight, settings.drop, draw)
        return out


def sum_changes(start: State, tuned: list[State], scale: float) -> State:
    """`start` + `scale` * sum of what each of the `tuned` weight sets changed."""
    return {k: v + scale * sum((t[k] - v for t in tuned), torch.zeros_like(v)) for k, v in start.items()}


def merge_by_ties(start: State, tuned: list[State], keep: float, scale: float) -> State:
    """Trim each change to its largest `keep`, elect one sign per weight by the summed change, average those that agree."""
    out: State = {}
    for k, v in start.items():
        changes = torch.stack([_trim_change(t[k] - v, keep) for t in tuned])
        sign = torch.sign(changes.sum(0))
        agree = (torch.sign(changes) == sign) & (changes != 0)
        mean = (changes * agree).sum(0) / agree.sum(0).clamp_min(1)
        out[k] = v + scale * mean
    return out


def _trim_change(change: Tensor, keep: float) -> Tensor:
    """The largest share `keep` of the entries by size, zeros in place of the others; ties at the border stay."""
    n = max(1, round(keep * change.numel()))
    least = change.abs().flatten().topk(n).values[-1]
    return torch.where(change.abs() >= least, change, torch.zeros_like(change))


def _thin_change(change: Tensor, drop: float, draw: torch.Generator) -> Tensor:
    """The same change on average, most of its entries zero."""
    keep = torch.rand(change.shape, generator=draw) >= drop
    return change * keep / (1 - drop)
