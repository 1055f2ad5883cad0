import numpy as np
import pandas as pd
import pytest

from digsite.prune.core.clusters import cluster_features
from digsite.prune.core.hamming import measure_distances
from digsite.prune.core.packed import pack
from digsite.prune.figures import masks as figures

KEEP = np.random.default_rng(0).random((20, 40)) < 0.5


def drawn(figure):
    figure.canvas.draw()
    return [ax for ax in figure.axes if ax.has_data()]


def test_every_picture_shows_its_data_and_names_its_axes():
    found, distances = cluster_features(KEEP, 10, "rows"), measure_distances(pack(KEEP))
    place = np.random.default_rng(1).random((20, 2))
    sheet = figures.cluster_sheet(KEEP, found, place, distances, "x")
    curves = figures.separation_curves(
        [2, 4], ([1, 2], [0.9, np.nan], [1.1, np.nan]), {"margins": np.ones((9, 2))}, [3, 2], [4, 4]
    )
    table = pd.DataFrame(
        {
            "level": ["50%", "2:4"] * 2,
            "method": ["a", "a", "b", "b"],
            "loss": [1.0, 2, 3, 4],
            "low": [0.9, np.nan, 2, 3],
            "high": [1.1, np.nan, 4, 5],
        }
    )
    shares = pd.DataFrame({"rows": [0.2, 0.5], "residual": [0.8, 0.5]})
    for figure, n in (
        (sheet, 5),
        (curves, 2),
        (figures.density_picture(KEEP, "x"), 2),
        (figures.z_chart(["a", "b"], [1.0, 5.0], [False, True]), 1),
        (figures.mask_pair([KEEP, ~KEEP, KEEP[::-1]], ["a", "b", "a − b", "a − null draw"]), 4),
        (figures.quality_curves(table, 0.8, "bits"), 1),
        (
            figures.quality_curves(table[table["level"] == "2:4"], 0.8, "bits"),
            1,
        ),  # rows with names, no legend
        (figures.stacked_shares(["a", "b"], shares), 1),
    ):
        axes = drawn(figure)
        named = [
            ax for ax in axes if ax.get_label() != "<colorbar>" and "gray: all pairs" not in ax.get_ylabel()
        ]
        assert len(axes) >= n and all(ax.get_xlabel() for ax in named)


def test_borders_are_where_clusters_change():
    found = cluster_features(KEEP, 3, "rows")
    sheet = figures.cluster_sheet(KEEP, found, np.zeros((20, 2)), measure_distances(pack(KEEP)), "x")
    lines = [line.get_ydata()[0] for line in sheet.axes[0].lines]
    assert lines == pytest.approx(np.cumsum(found.metrics.sizes)[:-1] - 0.5)
