import pytest
import torch

from digsite.base import settings
from digsite.base.errors import NotFound, UsageError
from digsite.models import load_model
from digsite.weights import read_weights, write_weights

CODE = """
from torch import nn
model = nn.Linear(2, 2)
def make():
    return nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
def wrong():
    return 3
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "nets_of_mine.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


def test_a_factory_or_a_module(here):
    bundle = read_weights("py:nets_of_mine:make")
    assert bundle.shape("1.weight") == (1, 2) and bundle.meta["reference"] == "py:nets_of_mine:make"
    assert load_model("py:nets_of_mine:model")(torch.ones(1, 2)).shape == (1, 2)


def test_mistakes_are_named(here):
    with pytest.raises(UsageError, match="names nothing in a module"):
        read_weights("py:nets_of_mine")
    with pytest.raises(NotFound, match="no module 'nets_of_yours'"):
        read_weights("py:nets_of_yours:make")
    with pytest.raises(NotFound, match=r"has no 'mak'\. Did you mean 'make'"):
        read_weights("py:nets_of_mine:mak")
    with pytest.raises(UsageError, match="gives a int, not an nn.Module"):
        read_weights("py:nets_of_mine:wrong")


@pytest.fixture
def run():
    path = settings.runs_dir() / "some-study" / "20261120-0742-k3f"
    (path / "artifacts").mkdir(parents=True)
    (path / "launch.yaml").write_text("schema: 1\n")
    return path / "artifacts"


def test_the_artifact_is_found(run):
    write_weights(run / "masks.safetensors", {"m": torch.ones(2)})
    assert list(read_weights("run:20261120-0742-k3f").tensors) == ["m"]
    write_weights(run / "model.safetensors", {"w": torch.ones(2)})
    assert list(read_weights("run:k3f").tensors) == ["w"]
    assert list(read_weights("run:k3f#masks").tensors) == ["m"]


def test_mistakes_about_runs_are_named(run):
    with pytest.raises(NotFound, match="has no stored tensors"):
        read_weights("run:k3f")
    for name in ("masks", "gates"):
        write_weights(run / f"{name}.safetensors", {"m": torch.ones(2)})
    with pytest.raises(NotFound, match=r"has 2 sets of tensors.*run:k3f#NAME.*gates, masks"):
        read_weights("run:k3f")
    with pytest.raises(NotFound, match=r"no tensors called 'mask'.*'masks'"):
        read_weights("run:k3f#mask")
    with pytest.raises(NotFound, match="no run 'zzz'"):
        read_weights("run:zzz")
