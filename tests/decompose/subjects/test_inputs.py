import numpy as np
import pytest
import torch
from torch import nn

from digsite.base.errors import NotFound, UsageError
from digsite.decompose.subjects import inputs

DENSE = nn.Sequential(nn.Linear(64, 3))


def draw(name: str, model: nn.Module = DENSE) -> torch.Tensor:
    return inputs.sample_named(name, model, 16)(torch.Generator().manual_seed(0))


def test_random_numbers_files_functions_and_images(tmp_path):
    assert draw("gaussian").shape == (16, 64)
    assert draw("uniform").min() >= 0
    np.save(tmp_path / "x.npy", np.ones((30, 64)))
    assert torch.equal(draw(str(tmp_path / "x.npy")), torch.ones(16, 64))
    assert draw("py:digsite.decompose.subjects.targets:draw_pairs").shape == (1024, 8)
    assert draw("digits").shape == (16, 64)
    assert draw("digits", nn.Conv2d(1, 2, 3)).shape == (16, 1, 8, 8)


def test_what_is_not_there_is_answered():
    with pytest.raises(UsageError, match="'digits'"):
        draw("digitz")
    with pytest.raises(NotFound, match="no file"):
        draw("nothing.npy")
    with pytest.raises(NotFound, match="has no 'nothing'"):
        draw("py:digsite.decompose.subjects.targets:nothing")
    with pytest.raises(UsageError, match="with one argument: too many positional arguments"):
        draw("py:digsite.decompose.subjects.targets:build_pairs")
    with pytest.raises(UsageError, match="begin with a dense layer"):
        draw("gaussian", nn.Conv2d(1, 2, 3))
