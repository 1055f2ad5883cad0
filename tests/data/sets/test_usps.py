import bz2

import numpy as np
import pytest

from digsite.data import load


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
