import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from digsite.base.errors import UsageError
from digsite.models.opening import one_batch


def test_one_batch_is_taken_as_it_is():
    x = torch.randn(5, 3)
    assert one_batch(x) is x and one_batch(None) is None
    assert one_batch((x, torch.zeros(5))) is x, "(inputs, labels)"
    assert torch.equal(one_batch(np.ones((2, 2), np.float32)), torch.ones(2, 2))
    found = one_batch({"input_ids": x, "labels": x, "names": ["a"]})
    assert list(found) == ["input_ids"], "answers and texts are no inputs"


@given(n=st.integers(1, 40), batch=st.integers(1, 7), most=st.integers(1, 50))
def test_a_loader_gives_its_first_rows(n, batch, most):
    rows = torch.arange(n * 2).reshape(n, 2)
    loader = DataLoader([{"input_ids": row, "labels": row[0]} for row in rows], batch_size=batch)
    assert torch.equal(one_batch(loader, most)["input_ids"], rows[:most])


def test_padded_batches_are_padded_on():
    short, long = ({"input_ids": torch.ones(2, n, dtype=torch.long)} for n in (3, 5))
    found = one_batch([short, long])["input_ids"]
    assert found.shape == (4, 5) and found.sum() == 16


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (3, "A int is no batch"),
        ("text", "A str is no batch"),
        ([], "holds no batch"),
        ({"names": ["a"]}, "no tensor among names"),
        ([torch.ones(2, 3), torch.ones(2, 4)], "rows of different shapes"),
        ([{"a": torch.ones(1)}, {"b": torch.ones(1)}], "do not have the same keys"),
    ],
)
def test_what_is_no_batch_is_one_sentence(data, says):
    with pytest.raises(UsageError, match=says):
        one_batch(data)
