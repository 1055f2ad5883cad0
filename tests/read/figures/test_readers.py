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
    assert isinstance(figures.lineage(["a", "b", "c"], [(0, 1, "pruned"), (1, 2, "merged")]), Figure)
    layers = [{"layer": "x", "share": [0.7, 0.3]}, {"layer": "y", "share": [1.0]}]
    assert isinstance(figures.attention(layers), Figure)
