"""Neurons of one network paired with neurons of another: by activations, or by weights alone (Git Re-Basin)."""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

Orders = list[Tensor]  # per hidden layer: the donor's unit that sits at each of the receiver's places


def assign(score: Tensor) -> Tensor:
    """The one-to-one pairing of rows with columns of the largest total score."""
    _, columns = linear_sum_assignment(score.double().numpy(), maximize=True)
    return torch.from_numpy(np.asarray(columns))


def by_activations(mine: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> Orders:
    """Pairs units whose activations on the same images correlate most."""
    return [assign(correlation(a, b)) for a, b in zip(mine, theirs)]


def correlation(a: Tensor, b: Tensor) -> Tensor:
    za, zb = (h - h.mean(0) for h in (a, b))
    za, zb = (z / z.norm(dim=0).clamp_min(1e-6) for z in (za, zb))
    return za.T @ zb


def by_weights(
    wa: list[Tensor], wb: list[Tensor], rounds: int = 10, draw: torch.Generator | None = None
) -> Orders:
    """Coordinate ascent on the inner product of all weights; each layer in turn is an assignment problem."""
    n_hidden = len(wa) - 1
    orders = [torch.arange(len(w)) for w in wa[:-1]]
    for _ in range(rounds):
        before = [o.clone() for o in orders]
        for i in torch.randperm(n_hidden, generator=draw).tolist():
            incoming = wb[i] if i == 0 else wb[i][:, orders[i - 1]]
            outgoing = wb[i + 1] if i == n_hidden - 1 else wb[i + 1][orders[i + 1]]
            orders[i] = assign(wa[i] @ incoming.T + wa[i + 1].T @ outgoing)
        if all(torch.equal(p, q) for p, q in zip(before, orders)):
            break
    return orders


def permuted(
    weights: list[Tensor], biases: list[Tensor], orders: Orders
) -> tuple[list[Tensor], list[Tensor]]:
    """The same function with its hidden units in another order."""
    ws, bs = [w.clone() for w in weights], [b.clone() for b in biases]
    for i, order in enumerate(orders):
        ws[i], bs[i] = ws[i][order], bs[i][order]
        ws[i + 1] = ws[i + 1][:, order]
    return ws, bs
