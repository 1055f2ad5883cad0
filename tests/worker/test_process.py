import pytest

from digsite.base.errors import UsageError
from digsite.worker.process import pick_device


def test_devices_that_are_not_there(monkeypatch):
    assert pick_device("cpu").type == "cpu"
    with pytest.raises(UsageError, match="'gpux' is not a device"):
        pick_device("gpux")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UsageError, match="has no CUDA"):
        pick_device("cuda")
