import io
import tarfile

import numpy as np
import pytest

from digsite.base.errors import DigsiteError
from digsite.data import load


def test_the_binary_archive_is_read(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    (tmp_path / "cifar10").mkdir()
    rows = {}
    with tarfile.open(tmp_path / "cifar10/cifar-10-binary.tar.gz", "w:gz") as archive:
        for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
            rows[name] = rng.integers(0, 256, (3, 3073), np.uint8)
            rows[name][:, 0] %= 10
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            member.size = rows[name].nbytes
            archive.addfile(member, io.BytesIO(rows[name].tobytes()))
    monkeypatch.setenv("DIGSITE_DATA", str(tmp_path))
    found = load("cifar10")
    assert found.x_train.shape == (15, 3, 32, 32) and not found.note
    assert found.y_test.tolist() == rows["test_batch"][:, 0].tolist()
    third = rows["data_batch_2"][1, 1:].reshape(3, 32, 32)
    assert np.array_equal((found.x_train[4] * 255).round().numpy(), third)


def test_another_archive_is_named(tmp_path, monkeypatch):
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10/cifar-10-binary.tar.gz").write_bytes(b"not an archive")
    monkeypatch.setenv("DIGSITE_DATA", str(tmp_path))
    with pytest.raises(DigsiteError, match="is not the binary CIFAR-10 archive"):
        load("cifar10")
