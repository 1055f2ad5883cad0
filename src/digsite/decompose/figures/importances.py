"""When components are important: histograms, means, densities, and by token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.decompose.core.masks import find_used
from digsite.decompose.figures import Picture, make_panels
from digsite.decompose.judge.metrics import View
from digsite.figures import curves, heatmap, histogram, styled

TOKENS, COMPONENTS = 40, 40  # rows and columns of the figure by token


class CiHistograms(Picture):
    """How often each importance occurs: most are zero, those that matter sit at one."""

    CAPTION = (
        "Log counts of importances over fresh data; little mass between zero and one means clean decisions."
    )

    @staticmethod
    @styled
    def draw_figure(view: View) -> Figure:
        """A count on a logarithmic scale: nearly all importances are zero."""
        figure, axes = make_panels(view.decomposition.modules)
        for ax, (module, g) in zip(axes, view.importance.items(), strict=True):
            counted = {module: g.flatten().cpu().numpy()}
            histogram(counted, x="importance", bins=100, log_y=True, title=module, ax=ax)
        return figure


class CiMeanPerComponent(Picture):
    """Mean importance of every component, from the most to the least used, on a log scale."""

    CAPTION = "A cliff separates components in use from spares; a long slope means that pieces are shared."

    @staticmethod
    def draw_figure(view: View) -> Figure:
        """Where the curve falls off is how many parts are used."""
        series = {}
        for module, g in view.importance.items():
            means = g.mean(0).sort(descending=True).values.cpu().numpy()
            series[module] = (np.arange(len(means)), np.maximum(means, 1e-7))
        return curves(series, x="component (by use)", y="mean importance", log_y=True)


class ComponentActivationDensity(Picture):
    """Histogram over components of the share of positions at which they fire."""

    CAPTION = "Components of one feature each fire as often as their feature is on."

    @staticmethod
    @styled
    def draw_figure(view: View) -> Figure:
        """Rare parts on the left, always-on parts on the right."""
        figure, axes = make_panels(view.decomposition.modules)
        for ax, (module, g) in zip(axes, view.importance.items(), strict=True):
            share = {module: find_used(g).float().mean(0).cpu().numpy()}
            histogram(
                share, x="share of positions with importance > 0.1", y="components", title=module, ax=ax
            )
        return figure


class TokenImportance(Picture):
    """Mean importance of the most used components at each of the most frequent tokens, by module."""

    CAPTION = (
        "Bright cells: components that a token needs; a component with few bright rows is about few tokens."
    )

    @staticmethod
    @styled
    def draw_figure(view: View) -> Figure:
        """Which token calls which part."""
        tokens, means = average_by_token(view)
        figure, axes = make_panels(list(means), height=7.0)
        for ax, (module, values) in zip(axes, means.items(), strict=True):
            heatmap(
                values[:, order_by_token(values)].cpu().numpy(),
                x="component (ordered)",
                y="token",
                title=module,
                unit="mean importance",
                ticks_y=[view.words(token).strip() or repr(view.words(token)) for token in tokens],
                ax=ax,
            )
            ax.tick_params(axis="y", labelsize=6)
        return figure

    @staticmethod
    def list_data(view: View) -> dict[str, Sequence[float | str]]:
        """The same numbers as a table."""
        tokens, means = average_by_token(view)
        columns: dict[str, Sequence[float | str]] = {"token": [view.words(token) for token in tokens]}
        for module, values in means.items():
            columns |= {f"{module}/{int(c)}": values[:, c].tolist() for c in order_by_token(values)}
        return columns


def average_by_token(view: View) -> tuple[list[int], dict[str, Tensor]]:
    """The most frequent tokens of the evaluation batches, and by module their mean importances (tokens, C)."""
    batches = list(view.draw_batches())
    if batches[0].is_floating_point():
        raise UsageError("The figure 'token_importance' needs a model that reads tokens.")
    tokens = torch.cat([batch.flatten() for batch in batches])
    distinct, where, counts = tokens.unique(return_inverse=True, return_counts=True)
    kept = counts.argsort(descending=True, stable=True)[:TOKENS]
    means = {}
    for module, g in view.importance.items():
        if len(g) == len(tokens):
            sums = torch.zeros(len(distinct), g.shape[-1], device=g.device).index_add_(0, where, g)
            means[module] = (sums / counts[:, None])[kept]
    return distinct[kept].tolist(), means


def order_by_token(values: Tensor) -> Tensor:
    """The most used components of (tokens, C), by the token that uses them most, so that neighbors belong together."""
    used = values.max(0).values.argsort(descending=True, stable=True)[:COMPONENTS]
    return used[values[:, used].argmax(0).argsort(stable=True)]
