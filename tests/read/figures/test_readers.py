from types import SimpleNamespace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from digsite.read.figures import readers as figures


def test_map_has_a_panel_per_property_and_method():
    rng = np.random.default_rng(0)
    labels = pd.DataFrame({"test_accuracy": rng.random(40), "optimizer": ["sgd", "adam"] * 20})
    found = figures.representation_map(rng.normal(size=(40, 8)), labels)
    titles = [ax.get_title(loc="left") or ax.get_title() for ax in found.axes]
    assert titles.count("optimizer") == 2 and any("t-SNE" in ax.get_xlabel() for ax in found.axes)


def test_few_networks_get_no_map_that_they_cannot_fill():
    labels = pd.DataFrame({"optimizer": ["sgd", "adam"] * 5})
    found = figures.representation_map(np.random.default_rng(0).normal(size=(10, 4)), labels)
    assert not any("t-SNE" in ax.get_xlabel() for ax in found.axes)


def test_lineage_and_attention_are_drawn():
    assert isinstance(figures.draw_lineage(["a", "b", "c"], [(0, 1, "pruned"), (1, 2, "merged")]), Figure)
    layers = [{"layer": "x", "share": [0.7, 0.3]}, {"layer": "y", "share": [1.0]}]
    assert isinstance(figures.draw_attention(layers), Figure)


def test_one_wild_interval_does_not_squeeze_the_axis_of_r2():
    """An interval down to -40 once left all readers in the last tenth of the figure."""
    wild, fine = (
        SimpleNamespace(value=-3.0, low=-40.0, high=0.2),
        SimpleNamespace(value=0.9, low=0.85, high=0.93),
    )
    zero = SimpleNamespace(value=0.0, low=0.0, high=0.0)
    scores = {"bad": {"lr": {"r2": wild}}, "good": {"lr": {"r2": fine}}, "constant": {"lr": {"r2": zero}}}
    figure, table = figures.draw_comparison(SimpleNamespace(scores=scores), ["bad", "good"], ["lr"], "r2")
    assert figure.axes[0].get_xlim() == (-0.25, 1.02)
    assert table["r2"].tolist() == [-3.0, 0.9]  # the table keeps the value that the axis does not hold


def test_the_map_is_never_colored_by_what_the_reader_was_given():
    """Colored by the activation, which every reader is told, a map of random vectors would also fall apart."""
    labels = pd.DataFrame(
        {"activation": ["relu", "tanh"] * 10, "family": ["a", "b"] * 10, "init": ["x", "y"] * 10}
    )
    figure = figures.representation_map(np.random.default_rng(0).normal(size=(20, 4)), labels)
    titles = {ax.get_title(loc="left") or ax.get_title() for ax in figure.axes}
    assert titles == {"init"}


def test_training_shows_the_held_out_loss_beside_the_loss():
    points = [{"epoch": e, "loss": 1.0 / e, "validation_loss": 2.0 / e} for e in (1, 2, 3)]
    figure = figures.draw_training([{"about": "function", "points": points}])
    assert [line.get_label() for line in figure.axes[0].lines] == ["function", "function, held out"]
    old = figures.draw_training([{"about": "function", "points": [{"epoch": 1, "loss": 1.0}]}])
    assert [line.get_label() for line in old.axes[0].lines] == ["function"]


def test_attention_names_the_most_attended_neurons():
    layers = [{"layer": "input", "share": [0.1, 0.6, 0.3], "names": ["r0 c0", "r0 c1", "r1 c0"]}]
    figure = figures.draw_attention(layers)
    assert [text.get_text() for text in figure.axes[0].texts] == ["r0 c1", "r1 c0", "r0 c0"]
