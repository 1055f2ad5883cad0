import pytest
import torch

from digsite.base import settings
from digsite.base.errors import NotFound
from digsite.weights import read_weights, write_weights


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


def test_mistakes_are_named(run):
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
