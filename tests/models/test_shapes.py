import json

import pytest
import torch

from digsite.base.errors import NotFound
from digsite.models import SHAPES, build, shape


def n_parameters(name: str, **task) -> int:
    return sum(p.numel() for p in build(shape(name, **task)).parameters())


def test_tracked_shapes_have_the_published_parameter_counts(data_dir):
    """From the manifest of the published runs: 15 shapes on 28x28 images."""
    counted = {}
    for run in json.loads((data_dir / "ndt_runs/manifest.json").read_text()):
        if run["dataset"] != "ag_news":
            counted[run["arch"]] = run["architecture_params"]["num_params"]
    assert len(counted) == 15
    assert {name: n_parameters(name) for name in counted} == counted


@pytest.mark.parametrize(
    ("name", "n"),
    [("BaseCNN", 1_199_882), ("SimpleNN", 52_650), ("MegaNN", 575_050), ("mlp_verywide", 864_266)],
)
def test_published_parameter_counts(name, n):
    assert n_parameters(name) == n


def test_the_base_cnn_of_five_classes():
    assert n_parameters("BaseCNN", n_classes=5) == 1_199_237


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_every_shape_fits_small_images(name):
    config = shape(name, image=(1, 16, 16), n_classes=3)
    assert build(config)(torch.rand(2, 1, 16, 16)).shape == (2, 3)


@pytest.mark.parametrize("name", [n for n, s in SHAPES.items() if s["kind"] != "cnn"])
def test_shapes_for_texts(name):
    config = shape(name, n_classes=4, vocab=30, length=12)
    assert build(config)(torch.randint(30, (2, 12))).shape == (2, 4)


def test_an_unknown_shape_answers_with_the_nearest():
    with pytest.raises(NotFound, match=r"no network named 'meganet'"):
        shape("meganet")
