"""Mean importance of the most used components at each of the most frequent tokens, by module."""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.decompose.figures._panels import panels
from digsite.decompose.judge.views import View
from digsite.figures import heatmap, styled

CAPTION = "Bright cells: components that a token needs; a component with few bright rows is about few tokens."
TOKENS, COMPONENTS = 40, 40


@styled
def draw(view: View) -> Figure:
    tokens, means = by_token(view)
    figure, axes = panels(list(means), height=7.0)
    for ax, (module, values) in zip(axes, means.items(), strict=True):
        words = [view.words(token) for token in tokens]
        heatmap(
            values[:, order(values)].cpu().numpy(),
            x="component (ordered)",
            y="token",
            title=module,
            unit="mean importance",
            ticks_y=words,
            ax=ax,
        )
        ax.tick_params(axis="y", labelsize=6)
    return figure


def by_token(view: View) -> tuple[list[int], dict[str, Tensor]]:
    """The most frequent tokens of the evaluation batches, and by module their mean importances (tokens, C)."""
    batches = list(view.batches())
    if batches[0].is_floating_point():
        raise UsageError("The figure 'token_importance' needs a model that reads tokens.")
    tokens = torch.cat([batch.flatten() for batch in batches])
    found, where, counts = tokens.unique(return_inverse=True, return_counts=True)
    kept = counts.argsort(descending=True, stable=True)[:TOKENS]
    means = {}
    for module, g in view.importance.items():
        if len(g) == len(tokens):
            sums = torch.zeros(len(found), g.shape[-1], device=g.device).index_add_(0, where, g)
            means[module] = (sums / counts[:, None])[kept]
    return found[kept].tolist(), means


def order(values: Tensor) -> Tensor:
    """The most used components, by the token that uses them most, so that neighbors belong together."""
    used = values.max(0).values.argsort(descending=True, stable=True)[:COMPONENTS]
    return used[values[:, used].argmax(0).argsort(stable=True)]


def data(view: View) -> dict[str, Sequence[float | str]]:
    tokens, means = by_token(view)
    columns: dict[str, Sequence[float | str]] = {"token": [view.words(token) for token in tokens]}
    for module, values in means.items():
        columns |= {f"{module}/{int(c)}": values[:, c].tolist() for c in order(values)}
    return columns
