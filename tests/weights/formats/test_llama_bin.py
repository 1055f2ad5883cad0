import pytest
import torch

from digsite.base.errors import DigsiteError
from digsite.weights import read_weights


def test_it_holds_the_same_numbers_as_the_safetensors(data_dir):
    folder = data_dir / "lm/stories260K"
    raw, tensors = (
        read_weights(str(folder / "stories260K.bin")),
        read_weights(str(folder / "model.safetensors")),
    )
    assert raw.tensors.keys() == tensors.tensors.keys()
    assert all(torch.equal(raw.tensors[name], tensors.tensors[name]) for name in raw.tensors)
    assert raw.tied == {"output.weight": "tok_embeddings.weight"}


def test_a_cut_file_is_named(data_dir, tmp_path):
    path = tmp_path / "cut.bin"
    path.write_bytes((data_dir / "lm/stories260K/stories260K.bin").read_bytes()[:-4])
    with pytest.raises(DigsiteError, match=r"promises 1056540 bytes, it has 1056536"):
        read_weights(str(path))
