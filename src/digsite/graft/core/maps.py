"""Maps between two feature spaces, in closed form: ridge regression and the orthogonal Procrustes rotation."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment, linprog
from scipy.sparse import eye_array, kron, vstack
from torch import Tensor, nn


@dataclass(frozen=True)
class Affine:
    """y = x @ weight.T + bias."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return x @ self.weight.T + self.bias

    def to_layer(self) -> nn.Linear:
        """The same map as a torch layer, with weights of its own."""
        out = nn.Linear(self.weight.shape[1], self.weight.shape[0]).to(self.weight)
        out.weight.data, out.bias.data = self.weight.clone(), self.bias.clone().to(self.weight)
        return out

    def carry_rows(self, rows: Tensor, biases: Tensor) -> tuple[Tensor, Tensor]:
        """Rows that read y, rewritten so that they read x."""
        return rows @ self.weight, rows @ self.bias + biases


@dataclass(frozen=True)
class Design:
    """The features of a ridge regression, factored once for any number of targets; the offset is not penalized."""

    x: Tensor
    mean: Tensor
    factor: Tensor

    @classmethod
    def of_features(cls, x: Tensor, strength: float) -> "Design":
        """`strength` is relative to the mean squared feature."""
        x64 = x.double()
        mean = x64.mean(0)
        x64 -= mean
        gram = x64.T @ x64
        gram.diagonal().add_(strength * gram.diagonal().mean().clamp_min(1e-12))
        return cls(x, mean, torch.linalg.cholesky(gram))

    def regress_onto(self, y: Tensor) -> Affine:
        """The map from the features to targets `y` (n, targets), solved in double precision.

        Features of a trained network are nearly collinear, and in single precision such a factor may not exist.
        """
        y64 = y.double()
        middle = y64.mean(0)
        w = torch.cholesky_solve(self.x.double().T @ (y64 - middle), self.factor).T
        return Affine(w.to(y.dtype), (middle - w @ self.mean).to(y.dtype))


def fit_ridge(x: Tensor, y: Tensor, strength: float = 1e-3) -> Affine:
    """Least squares from features `x` (n, features) to `y` (n, targets) with an unpenalized offset.

    `strength`: of the penalty, relative to the mean squared feature, so that one value does for layers of any scale.
    """
    return Design.of_features(x, strength).regress_onto(y)


def fit_rotation(x: Tensor, y: Tensor, *, centered: bool = True) -> Affine:
    """The orthogonal Q (semi-orthogonal between unequal widths) that minimizes |x Q^T - y|, from one SVD.

    `x` (n, width_x), `y` (n, width_y): features of the same images. `centered`: take the means off first; the published
    methods do not, and features after a ReLU have large ones.
    """
    mx, my = (x.mean(0), y.mean(0)) if centered else (x.new_zeros(x.shape[1]), y.new_zeros(y.shape[1]))
    u, _, vt = torch.linalg.svd((y - my).T @ (x - mx), full_matrices=False)
    q = u @ vt
    return Affine(q, my - q @ mx)


def fit_quality(y: Tensor, guess: Tensor) -> float:
    """Explained share of the variance (R2) of `y` (n, outputs) by `guess`, over all outputs together."""
    left = (y - guess).square().sum()
    return float(1 - left / (y - y.mean(0)).square().sum().clamp_min(1e-12))


# Neurons of one network paired with neurons of another: by activations, or by weights alone (Git Re-Basin).

Orders = list[Tensor]  # per hidden layer: the donor's unit that sits at each of the receiver's places


def assign_units(score: Tensor) -> Tensor:
    """The one-to-one pairing of rows with columns of the largest total `score` (rows, columns): a column for every row."""
    _, columns = linear_sum_assignment(score.double().numpy(), maximize=True)
    return torch.from_numpy(np.asarray(columns))


def match_by_activations(target: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> Orders:
    """Pairs units whose activations on the same images correlate most: `target`, `theirs` (n, units) by hidden layer."""
    return [assign_units(correlate_units(a, b)) for a, b in zip(target, theirs)]


def correlate_units(a: Tensor, b: Tensor) -> Tensor:
    """Correlations (units_a, units_b) of features `a` (n, units_a) with features `b` (n, units_b) of the same images."""
    za, zb = (h - h.mean(0) for h in (a, b))
    za, zb = (z / z.norm(dim=0).clamp_min(1e-6) for z in (za, zb))
    return za.T @ zb


def match_by_weights(
    wa: list[Tensor], wb: list[Tensor], rounds: int = 10, *, draw: torch.Generator
) -> Orders:
    """Coordinate ascent on the inner product of all weights; each layer in turn is an assignment problem (Git Re-Basin).

    `wa`, `wb`: matrices (out, in) of both networks, first layer first. `rounds`: at most so many sweeps; it ends when none
    changes anything. `draw`: the order of layers in a sweep, which decides which local optimum is found.
    """
    n_hidden = len(wa) - 1
    orders = [torch.arange(len(w)) for w in wa[:-1]]
    for _ in range(rounds):
        before = [o.clone() for o in orders]
        for i in torch.randperm(n_hidden, generator=draw).tolist():
            incoming = wb[i] if i == 0 else wb[i][:, orders[i - 1]]
            outgoing = wb[i + 1] if i == n_hidden - 1 else wb[i + 1][orders[i + 1]]
            orders[i] = assign_units(wa[i] @ incoming.T + wa[i + 1].T @ outgoing)
        if all(torch.equal(p, q) for p, q in zip(before, orders)):
            break
    return orders


def permute_units(
    weights: list[Tensor], biases: list[Tensor], orders: Orders
) -> tuple[list[Tensor], list[Tensor]]:
    """The same function with its hidden units in another order: `orders` says which unit comes to each place."""
    ws, bs = [w.clone() for w in weights], [b.clone() for b in biases]
    for i, order in enumerate(orders):
        ws[i], bs[i] = ws[i][order], bs[i][order]
        ws[i + 1] = ws[i + 1][:, order]
    return ws, bs


# Neurons of networks of two widths: mass is shared out instead of units being paired (optimal-transport fusion).


def transport_units(score: Tensor) -> Tensor:
    """The plan (rows, columns) of largest total `score`, each row giving 1 / rows and each column taking 1 / columns: exact,
    by linear programming. Between equal widths it is an assignment.
    """
    rows, columns = score.shape
    ones_r, ones_c = np.ones((1, rows)), np.ones((1, columns))
    marginals = [kron(eye_array(rows), ones_c), kron(ones_r, eye_array(columns))]
    masses = [np.full(rows, 1 / rows), np.full(columns, 1 / columns)]
    both = {"A_eq": vstack(marginals), "b_eq": np.concatenate(masses)}
    done = linprog(-score.double().numpy().ravel(), bounds=(0, None), method="highs", **both)
    assert done.success, done.message  # marginals of equal mass always have a plan
    return torch.from_numpy(done.x.reshape(rows, columns))


def carry_widths(
    weights: list[Tensor], biases: list[Tensor], plans: list[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """A chain in the widths of another one: `plans` (their units, own units) by hidden layer.

    A unit there becomes the mean of the units that it is given, and what read one of these reads the mean of the units that it
    went to. So a chain whose units were doubled comes back as it was.
    """
    ws, bs = [w.double() for w in weights], [b.double() for b in biases]
    for i, plan in enumerate(plans):
        gathered, spread = plan * len(plan), plan.T * plan.shape[1]
        ws[i], bs[i] = gathered @ ws[i], gathered @ bs[i]
        ws[i + 1] = ws[i + 1] @ spread
    return [w.to(weights[0]) for w in ws], [b.to(weights[0]) for b in bs]
