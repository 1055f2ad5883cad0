"""The real download path against a server on loopback."""

import gzip
import hashlib
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from digsite.base.errors import DigsiteError, NotFound
from digsite.base.families import scan_member
from digsite.base.settings import cache_dir
from digsite.data import load
from digsite.data.fetch import Source, find_file, locate_file
from digsite.data.sets.handwritten import Mnist

CONTENT = bytes(range(256)) * 600
HASH = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


class Handler(BaseHTTPRequestHandler):
    files: dict[str, bytes]
    cut = False

    def do_GET(self):
        data = self.files.get(self.path)
        self.send_response(404 if data is None else 200)
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        self.wfile.write((data or b"")[: len(data or b"") // 2 if self.cut else None])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    handler = type("Server", (Handler,), {"files": {"/a.bin": CONTENT}})
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    handler.base = f"http://127.0.0.1:{httpd.server_port}"
    yield handler
    httpd.shutdown()
    httpd.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _no_data_folder(monkeypatch):
    for name in ("DIGSITE_DATA", "DIGSITE_OFFLINE", "DIGSITE_MIRROR"):
        monkeypatch.delenv(name, raising=False)


def cached() -> list[str]:
    root = cache_dir()
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()) if root.exists() else []


def test_a_file_is_fetched_once(server):
    source = Source("a.bin", HASH, (f"{server.base}/a.bin",))
    path = locate_file("some", source)
    assert path.read_bytes() == CONTENT and cached() == ["data/some/a.bin"]
    server.files = {}
    assert locate_file("some", source) == path


def test_a_wrong_hash_leaves_nothing(server):
    source = Source("a.bin", f"sha256:{'0' * 64}", (f"{server.base}/a.bin",))
    with pytest.raises(
        DigsiteError, match=r"'some/a\.bin' could not be downloaded .*another hash .*thrown away"
    ):
        locate_file("some", source)
    assert cached() == []


def test_a_cut_download_leaves_nothing(server):
    server.cut = True
    with pytest.raises(DigsiteError, match=r"'some/a\.bin' could not be downloaded .*broke before .*whole"):
        locate_file("some", Source("a.bin", HASH, (f"{server.base}/a.bin",)))
    assert cached() == []


def test_a_missing_file_says_what_the_server_said(server):
    with pytest.raises(DigsiteError, match="the server answered 404 Not Found"):
        locate_file("some", Source("b.bin", HASH, (f"{server.base}/b.bin",)))
    assert cached() == []


def test_no_network_is_one_sentence():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(DigsiteError) as caught:
        locate_file("some", Source("a.bin", HASH, (f"http://127.0.0.1:{port}/a.bin",)))
    assert f"(http://127.0.0.1:{port}/a.bin: no connection)" in caught.value.message
    assert "put the file into" in caught.value.hint and "\n" not in str(caught.value)
    assert cached() == []


def test_the_second_address_helps_out(server):
    source = Source("a.bin", HASH, (f"{server.base}/gone.bin", f"{server.base}/a.bin"))
    assert locate_file("some", source).read_bytes() == CONTENT


def test_offline_never_opens_a_socket(server, monkeypatch):
    monkeypatch.setenv("DIGSITE_OFFLINE", "1")

    def refuse(*_):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(NotFound, match=r"'some/a\.bin' is not on this machine and DIGSITE_OFFLINE is set"):
        locate_file("some", Source("a.bin", HASH, (f"{server.base}/a.bin",)))
    with pytest.raises(NotFound, match="kmnist"):
        load("kmnist")


def test_a_data_folder_goes_before_the_cache(tmp_path, monkeypatch):
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "a.bin").write_bytes(b"mine")
    monkeypatch.setenv("DIGSITE_DATA", str(tmp_path))
    assert find_file("some", "a.bin") == tmp_path / "some" / "a.bin"
    assert locate_file("some", Source("a.bin", HASH, ())).read_bytes() == b"mine"


def idx(values: np.ndarray) -> bytes:
    return gzip.compress(
        struct.pack(f">HBB{values.ndim}i", 0, 8, values.ndim, *values.shape) + values.tobytes()
    )


def test_a_whole_set_comes_from_a_mirror(server, monkeypatch):
    """`load("mnist")` from the first socket to the tensors, on a small set of our own with its own hashes."""
    rng = np.random.default_rng(0)
    arrays = [
        rng.integers(0, 256, (30, 28, 28), np.uint8),
        rng.integers(0, 10, 30, np.uint8),
        rng.integers(0, 256, (9, 28, 28), np.uint8),
        rng.integers(0, 10, 9, np.uint8),
    ]
    sources = []
    for source, values in zip(Mnist.FILES, arrays):
        data = idx(values)
        server.files[f"/mnist/{source.file}"] = data
        sources.append(Source(source.file, f"sha256:{hashlib.sha256(data).hexdigest()}", source.urls))
    monkeypatch.setattr(Mnist, "FILES", tuple(sources))
    monkeypatch.setenv("DIGSITE_MIRROR", server.base + "/")
    found = load("mnist")
    assert np.array_equal((found.x_train[:, 0] * 255).round().numpy(), arrays[0])
    assert found.y_test.tolist() == arrays[3].tolist() and len(cached()) == 4


@pytest.mark.parametrize("kind", ["mnist", "fashion_mnist", "kmnist", "qmnist", "usps", "cifar10"])
def test_nothing_is_downloaded_without_a_hash(kind):
    listed = scan_member("digsite.data.sets", kind).FILES
    assert listed
    for source in listed:
        method, digest = source.hash.split(":")
        assert len(digest) == {"sha256": 64, "md5": 32}[method] and source.urls
