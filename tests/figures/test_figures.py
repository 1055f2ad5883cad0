import numpy as np
import pytest

from digsite import figures

X = np.linspace(0, 1, 20)
FIGURES = {
    "curves": lambda: figures.curves(
        {"a": (X, X), "chance": (X, X * 0)},
        x="step",
        y="loss",
        nulls=["chance"],
        bands={"a": (X - 0.1, X + 0.1)},
    ),
    "heatmap": lambda: figures.heatmap(np.eye(4) - 0.5, x="column", y="row", unit="weight", centered=True),
    "bars": lambda: figures.bars(
        {"a": 1.0, "b": 2.0}, y="accuracy", lows={"a": 0.9}, highs={"a": 1.2}, nulls={"a": 0.5}
    ),
    "histogram": lambda: figures.histogram({"a": X, "b": X**2}, x="value"),
    "scatter": lambda: figures.scatter({"a": (X, X)}, x="true", y="predicted", diagonal=True),
}


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_figures_are_labeled_and_the_same_every_time(name, tmp_path):
    for i in range(2):
        figure = FIGURES[name]()
        axes = figure.axes[0]
        assert axes.get_ylabel() and (axes.get_xlabel() or name == "bars")
        figures.save_figure(figure, tmp_path / f"{i}", caption="What to see.")
    for kind in ("png", "svg"):
        assert (tmp_path / f"0.{kind}").read_bytes() == (tmp_path / f"1.{kind}").read_bytes()
    assert (tmp_path / "0.txt").read_text() == "What to see.\n"


def test_heights_and_intervals_are_what_was_given():
    axes = FIGURES["bars"]().axes[0]
    assert [patch.get_height() for patch in axes.patches] == [1.0, 2.0]
