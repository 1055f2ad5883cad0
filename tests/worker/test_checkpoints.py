import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from digsite.worker import checkpoints

leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)
trees = st.recursive(
    leaves,
    lambda x: (
        st.lists(x, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.integers(), x, max_size=3)
        | st.tuples(x, x)
    ),
    max_leaves=8,
)


@given(trees)
def test_plain_values_come_back_as_they_were(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("tree") / "x.safetensors"
    checkpoints.save_tree(path, value)
    assert checkpoints.load_tree(path) == value


def test_tensors_and_arrays_keep_type_and_bits(tmp_path):
    shared = torch.randn(3, 4, dtype=torch.float64)
    value = {
        "a": [shared, shared.T],
        "b": (np.arange(3), torch.tensor([True])),
        "c": np.float32(2),
        "e": torch.zeros(0),
    }
    checkpoints.save_tree(tmp_path / "x.safetensors", value, journal="7")
    back = checkpoints.load_tree(tmp_path / "x.safetensors")
    assert torch.equal(back["a"][0], shared) and torch.equal(back["a"][1], shared.T)
    assert (
        isinstance(back["b"], tuple)
        and isinstance(back["b"][0], np.ndarray)
        and back["b"][1].dtype == torch.bool
    )
    assert back["c"] == 2.0 and back["e"].shape == (0,)
    assert checkpoints.read_metadata(tmp_path / "x.safetensors")["journal"] == "7"
