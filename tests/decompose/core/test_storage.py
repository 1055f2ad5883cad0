import pytest
import torch
from safetensors.torch import save_file

from digsite.base.errors import NotFound, UsageError
from digsite.decompose import Decomposition, decompose
from digsite.models import build, parse


def test_a_model_of_ours_needs_no_architecture(tmp_path):
    model = build(parse({"kind": "tms"})).untied()
    found = decompose(model, ["linear*"], data=torch.rand(64, 5), C=6, steps=2, batch=8)
    again = Decomposition.load(found.save(tmp_path / "found.safetensors"))
    x = torch.rand(9, 5)
    assert torch.equal(again.output(x), found.output(x))


def test_other_files_and_missing_files_are_answered(tmp_path):
    save_file({"a": torch.ones(1)}, tmp_path / "a.safetensors")
    with pytest.raises(UsageError, match="is not a decomposition"):
        Decomposition.load(tmp_path / "a.safetensors")
    with pytest.raises(NotFound, match="no decomposition at"):
        Decomposition.load(tmp_path / "b.safetensors")
    with pytest.raises(NotFound):
        Decomposition.load("run:nothing")
