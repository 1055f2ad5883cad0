import bz2

import numpy as np
import pytest

from digsite.data import load


def test_the_class_is_the_first_of_eight_numbers(tmp_path, monkeypatch):
    import gzip
    import struct

    rng = np.random.default_rng(0)
    for part, n in (("train", 6), ("test", 4)):
        folder = tmp_path / "qmnist"
        folder.mkdir(exist_ok=True)
        images = rng.integers(0, 256, (n, 28, 28), np.uint8)
        labels = rng.integers(0, 10, (n, 8)).astype(">i4")
        image_data = struct.pack(">HBB3i", 0, 8, 3, n, 28, 28) + images.tobytes()
        label_data = struct.pack(">HBB2i", 0, 12, 2, n, 8) + labels.tobytes()
        (folder / f"qmnist-{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(image_data))
        (folder / f"qmnist-{part}-labels-idx2-int.gz").write_bytes(gzip.compress(label_data))
    monkeypatch.setenv("DIGSITE_DATA", str(tmp_path))
    found = load("qmnist")
    assert found.y_test.tolist() == labels[:, 0].tolist() and found.image_shape == (1, 28, 28)


def test_the_published_files_are_read(tmp_path, monkeypatch):
    (tmp_path / "usps").mkdir()
    rng = np.random.default_rng(0)
    for name, n in (("usps.bz2", 4), ("usps.t.bz2", 2)):
        pixels, labels = rng.uniform(-1, 1, (n, 256)).round(3), np.arange(1, n + 1)
        lines = [
            f"{y} " + " ".join(f"{i}:{v}" for i, v in enumerate(row, 1)) for y, row in zip(labels, pixels)
        ]
        (tmp_path / "usps" / name).write_bytes(bz2.compress("\n".join(lines).encode()))
    monkeypatch.setenv("DIGSITE_DATA", str(tmp_path))
    found = load("usps")
    assert found.image_shape == (1, 16, 16) and found.y_test.tolist() == [0, 1]
    assert found.x_test[0, 0, 0, 0].item() == pytest.approx((pixels[0, 0] + 1) / 2, abs=1e-6)
