import numpy as np

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
