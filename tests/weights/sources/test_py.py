import pytest
import torch

from digsite.base.errors import NotFound, UsageError
from digsite.models import load_model
from digsite.weights import read_weights

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
