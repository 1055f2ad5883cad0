"""Files that are small and become large, and tables that never end."""

import gzip
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

from digsite.base.errors import DigsiteError
from digsite.data import load_tokenizer
from digsite.data.images import read_idx
from digsite.weights import open_weights

MEGABYTE = b"\0" * 1_000_000


def bounded(function, path, most: int = 200_000_000):
    """The sentence of the refusal, which takes little memory and little time."""
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(DigsiteError) as refused:
        function(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < most and time.process_time() - start < 10
    return str(refused.value)


def test_an_npz_of_zeros(tmp_path):
    path = tmp_path / "bomb.npz"
    header = np.lib.format.header_data_from_array_1_0(np.zeros(1, np.uint8)) | {"shape": (400_000_000,)}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("w.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(400):
            file.write(MEGABYTE)
    assert path.stat().st_size < 500_000
    assert "would unpack to" in bounded(open_weights, path)


def test_an_npz_whose_entry_promises_more_than_it_has(tmp_path):
    path = tmp_path / "liar.npz"
    header = np.lib.format.header_data_from_array_1_0(np.zeros(1, np.float32)) | {"shape": (10**12,)}
    with zipfile.ZipFile(path, "w") as archive, archive.open("w.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(b"1234")
    assert "promises 4,000,000,000,000 bytes and has 4" in bounded(open_weights, path)


def test_an_idx_of_zeros(tmp_path):
    path = tmp_path / "images-idx3-ubyte.gz"
    with gzip.open(path, "wb", 9) as file:
        file.write(struct.pack(">HBBiii", 0, 8, 3, 100, 1000, 1000))
        for _ in range(150):
            file.write(MEGABYTE)
    assert "unpacks to more than" in bounded(read_idx, path)


def test_an_idx_with_a_negative_shape(tmp_path):
    path = tmp_path / "x-idx3-ubyte"
    path.write_bytes(struct.pack(">HBBiii", 0, 8, 3, -1, -1, 4) + b"1234")
    assert "damaged" in bounded(read_idx, path)


PIECE = struct.pack("<fi", 1.0, -8)  # steps back to its own start


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("tokenizer.bin", struct.pack("<i", 1) + PIECE),
        ("tokenizer.bin", struct.pack("<ifi", 1, 0.0, 2**31 - 1)),
        ("tokenizer.bin", struct.pack("<ifi", 1, 0.0, 0) * 3),
        ("tokenizer.bin", b""),
        ("tokenizer.bin", b"\0" * 12),
        ("tokenizer.model", b"\x80" * 100_000),
        ("tokenizer.model", b"\x0a\xff\xff\xff\xff\x0f"),
        ("tokenizer.model", b"\x0a\x02\x08\x01"),
        ("tokenizer.model", b"\x0a\x00"),
        ("tokenizer.vocab", b"no tab"),
        ("tokenizer.vocab", b"\xff\xfe"),
        ("tokenizer.vocab", b""),
    ],
)
def test_tokenizers_that_never_end(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    assert "could not be read as a tokenizer" in bounded(load_tokenizer, tmp_path / name)
