import pytest
import torch
from safetensors.torch import save_file

from digsite.base.errors import NotFound, UsageError
from digsite.read.subjects.model_files import read_networks


def test_files_and_folders_and_what_is_left_out(tmp_path):
    save_file({"w": torch.randn(4, 4)}, tmp_path / "a.safetensors")
    (tmp_path / "b").mkdir()
    save_file({"w": torch.randn(4, 4)}, tmp_path / "b" / "model.safetensors")
    save_file({"w": torch.full((4, 4), torch.nan)}, tmp_path / "c.safetensors")
    (tmp_path / "notes.md").write_text("no model")
    found = read_networks(tmp_path)
    assert [n.name for n in found.networks] == ["a", "b"]
    assert found.left_out[0][0] == "c.safetensors" and "NaN" in found.left_out[0][1]


def test_one_model_is_too_few(tmp_path):
    save_file({"w": torch.randn(4, 4)}, tmp_path / "a.safetensors")
    with pytest.raises(UsageError, match="holds 1 model; a lineage needs at least two"):
        read_networks(tmp_path)
    with pytest.raises(NotFound):
        read_networks(tmp_path / "none")
