import sys

import pytest
import torch

from digsite.base.errors import MissingExtra, NotFound, UsageError
from digsite.base.settings import cache_dir
from digsite.weights import read_weights, write_weights
from digsite.weights.sources import remote


def test_without_the_hub_extra_the_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra, match=r"'huggingface_hub'.*digsite\[hub\]"):
        read_weights("hub:org/name")


def test_offline_is_one_sentence(monkeypatch, tmp_path):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("DIGSITE_OFFLINE", "1")
    with pytest.raises(NotFound, match=r"'org/name' is not in the local cache and DIGSITE_OFFLINE is set"):
        read_weights("hub:org/name")


def test_a_snapshot_is_read(monkeypatch, tmp_path):
    module = pytest.importorskip("huggingface_hub")
    write_weights(tmp_path / "model.safetensors", {"w": torch.ones(2)})
    asked = []
    monkeypatch.setattr(
        module, "snapshot_download", lambda name, **o: asked.append((name, o)) or str(tmp_path)
    )
    assert list(read_weights("hub:org/name@v2").tensors) == ["w"]
    ((name, options),) = asked
    assert name == "org/name" and options["revision"] == "v2" and options["allow_patterns"] == remote.PATTERNS


def test_without_the_extra_the_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtra, match=r"'wandb'.*digsite\[wandb\]"):
        read_weights("wandb:me/project/runs/abc")


def test_the_form_is_checked_first():
    with pytest.raises(UsageError, match="names neither a run nor an artifact"):
        read_weights("wandb:me/project")


def test_what_was_fetched_before_is_read_offline(monkeypatch):
    monkeypatch.setenv("DIGSITE_OFFLINE", "1")
    with pytest.raises(NotFound, match="not in the local cache and DIGSITE_OFFLINE is set"):
        read_weights("wandb:me/project/runs/abc")
    folder = cache_dir() / "wandb/me/project/runs/abc"
    write_weights(folder / "model.safetensors", {"w": torch.ones(2)})
    assert list(read_weights("wandb:me/project/runs/abc").tensors) == ["w"]
    write_weights(folder / "other.safetensors", {"v": torch.ones(2)})
    with pytest.raises(NotFound, match=r"has 2 weight files.*#FILE"):
        read_weights("wandb:me/project/runs/abc")
    assert list(read_weights("wandb:me/project/runs/abc#other.safetensors").tensors) == ["v"]
