"""Requests to the dashboard: addresses, parameters and headers that nobody would type, and more visitors than there is room for."""

import http.client
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path
from urllib.parse import quote, quote_from_bytes

import numpy as np
import pytest
from safetensors.numpy import save_file

WORDS = (
    "",
    "0",
    "1",
    "-1",
    "x",
    "²",
    "٣",
    "9" * 12,
    "9" * 5000,
    "1e999",
    "nan",
    "..",
    "%00",
    "\ud83e",
    "💩",
    "<b>",
    "a" * 3000,
    "null",
    "[]",
    "0,1",
    "1,,2",
    ",",
    "lr>0.01",
    "lr>",
    "=",
    "a=b=c",
    "size",
    "given",
    "rows",
    "columns",
    "finished",
    "damaged",
    "pair",
    "showcase",
    "artifacts",
    "\x00",
    "\r\n",
    "http://x",
    "//",
    "~",
    "#",
    "&",
    "1.5",
    "0x10",
    "run:1",
)
NAMES = (
    "page",
    "q",
    "study",
    "state",
    "tag",
    "where",
    "sort",
    "up",
    "part",
    "name",
    "level",
    "row",
    "column",
    "top",
    "left",
    "height",
    "width",
    "lead",
    "rows",
    "columns",
    "axis",
    "index",
    "k",
    "start",
    "points",
    "from",
    "run",
    "claim",
    "off",
    "feature",
    "size",
    "at",
    "token",
    "x" * 500,
)
HEADERS = (
    {"host": "localhost"},
    {"last-event-id": "x-y"},
    {"last-event-id": "9" * 500},
    {"accept": "\xff"},
    {"cookie": "a=b;;\xff=\x01"},
    {"authorization": "Bearer \xe9"},
    {"range": "bytes=5-1"},
    {"range": "bytes=0-99999999999999"},
    {"range": "x" * 2000},
    {"if-none-match": "*"},
    {"if-modified-since": "yesterday"},
    {"content-length": "-1"},
    {"x" * 200: "y" * 5000},
)


def addresses(run) -> list[str]:
    """Every kind of page, by the template of its address."""
    here = f"/runs/{run.path.parent.name}/{run.id}"
    views = ("view", "tile", "cells", "near", "metrics")
    return [
        "/",
        "/api/runs",
        "/sweeps",
        "/sweeps/pair",
        "/api/sweeps/pair",
        "/zoo",
        here,
        f"/api{here}",
        f"{here}/report",
        f"{here}/tables/overlaps",
        f"{here}/files/run.log",
        f"{here}/files/figures/loss.png",
        "/compare",
        "/compare/report",
        "/api/compare",
        f"/zoo{here.removeprefix('/runs')}",
        f"/zoo{here.removeprefix('/runs')}/0",
        "/assets/run.js",
        *[f"/api{here}/{name}" for name in views],
        f"{here}/views/overlap",
    ]


def hostile_request(run, views: list[str], rng: random.Random) -> tuple[str, str, dict]:
    """One method, address and set of headers."""
    path = rng.choice(addresses(run))
    if rng.random() < 0.25:
        parts = path.split("/")
        parts[rng.randrange(len(parts))] = rng.choice(WORDS)
        path = "/".join(parts)
    if rng.random() < 0.1:
        path += "/" + rng.choice(WORDS)
    chosen = rng.sample(NAMES, rng.randrange(5))
    pairs = [(name, rng.choice(WORDS)) for name in chosen]
    if path.startswith("/api/runs") and rng.random() < 0.8:
        pairs.append(("name", rng.choice(views)))
    if "compare" in path:
        pairs += [("run", f"{run.path.parent.name}/{run.id}")] * rng.randrange(3)
    query = "&".join(f"{_quoted(k)}={_quoted(v)}" for k, v in pairs)
    return (
        rng.choice(("GET",) * 12 + ("HEAD", "POST", "TRACE")),
        f"{_quoted(path, '/%')}?{query}",
        dict(rng.choice(HEADERS)),
    )


def _quoted(text: str, safe: str = "") -> str:
    return quote_from_bytes(text.encode("utf-8", "surrogatepass"), safe=safe)


def attack_pages(visit, runs, n: int, seed: int) -> list:
    """Send `n` requests and return those that were answered with an error of ours."""
    import json

    run, failed = runs[0], []
    views = [view["name"] for view in json.loads(run.views.read_bytes())]
    for i in range(n):
        method, address, headers = hostile_request(run, views, random.Random(f"{seed} {i}"))
        if "/events" in address:
            continue
        answer = visit.request(
            method,
            f"http://localhost{address}",
            headers={k: v.encode("latin-1") for k, v in headers.items()},
            follow_redirects=False,
        )
        if answer.status_code >= 500:
            failed.append((method, address[:300], headers, answer.text[:300]))
    return failed


def test_hostile_requests_are_never_an_error_of_ours(house, visit):
    failed = attack_pages(visit, house[2], 300, 27)
    assert not failed, failed[:5]


@pytest.mark.slow
@pytest.mark.parametrize("part", range(5))
def test_five_thousand_hostile_requests(house, visit, part):
    failed = attack_pages(visit, house[2], 1000, 100 + part)
    assert not failed, (len(failed), failed[:10])


def test_views_of_huge_files_take_little_time_and_memory(house, visit):
    """Components that claim more than they hold, a tensor without end, a picture without pixels: bounded, and no 500."""
    import json

    run = house[2][0]
    count = 20_000
    tensors = {
        "parts/w/V": np.ones((200, count), np.float32),
        "parts/w/U": np.ones((count, 200), np.float32),
        "target/W_E": np.ones((5, 200), np.float32),
        "hollow": np.zeros((3, 0, 5), np.float32),
        "long": np.ones(9_000_000, np.float32),
    }
    model = {"kind": "resid_mlp", "n_features": 10**12, "n_layers": 10**12, "activation": "relu"}
    about = {"decomposition": json.dumps({"model": model})}
    save_file(tensors, run.artifacts / "huge.safetensors", metadata=about)
    views = [
        ("components", "parts/w/V"),
        ("image", "hollow"),
        ("image", "long"),
        ("curve", "long"),
        ("histogram", "long"),
        ("matrix", "long"),
        ("matrix", "hollow"),
        ("histogram", "hollow"),
        ("curve", "hollow"),
    ]
    run.views.write_text(
        json.dumps(
            [
                {"name": f"{kind} {key}", "kind": kind, "source": f"artifacts/huge.safetensors#{key}"}
                for kind, key in views
            ]
        )
    )
    here = f"/api/runs/{run.path.parent.name}/{run.id}/view?name="
    for kind, key in views:
        tracemalloc.start()
        before = time.process_time()
        answer = visit.get(here + quote(f"{kind} {key}") + "&off=" + ",".join(map(str, range(3000))))
        took, peak = time.process_time() - before, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert answer.status_code in (200, 400, 404), (kind, key, answer.text[:300])
        assert peak < 200e6 and took < 20 and len(answer.content) < 5e6, (kind, key, peak, took)


@pytest.fixture
def server(house, plugin_env):
    """A real server in a process of its own, with few descriptors: its port, its process and what it writes."""
    root = house[0]
    log = root.parent / "serve.log"

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    with log.open("wb") as file:
        child = subprocess.Popen(
            [sys.executable, "-m", "digsite", "serve", "--port", "0", "--runs", str(root)],
            env=plugin_env,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            preexec_fn=limited,  # noqa: PLW1509
        )
    assert child.stdout
    line = child.stdout.readline()
    port = int(line.split("http://")[1].split("/")[0].rpartition(":")[2])
    yield port, child, log
    child.send_signal(signal.SIGINT)
    child.wait(600)
    child.stdout.close()


def ask(port: int, path: str = "/api/runs", patience: float = 30.0) -> int:
    """The status of one request on a connection of its own; 0 when the server hung up."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (http.client.HTTPException, OSError):
        return 0
    finally:
        connection.close()


def test_more_visitors_than_descriptors_and_silent_ones(server):
    """300 connections that say nothing, with room for 64 descriptors: no flood of lines, and it answers again in a moment."""
    port, child, log = server
    assert ask(port) == 200
    silent = []
    for _ in range(300):
        try:
            silent.append(socket.create_connection(("127.0.0.1", port), timeout=5))
        except OSError:
            break
    busy = _cpu_s(child.pid)
    time.sleep(2)
    assert _cpu_s(child.pid) - busy < 1.5
    for each in silent:
        each.close()
    start = time.monotonic()
    while ask(port) != 200:
        assert time.monotonic() - start < 15
        time.sleep(0.1)
    assert log.stat().st_size < 20_000 and "Traceback" not in log.read_text()


def test_fifty_at_once(server):
    """Everybody is answered or told to wait, and nobody sees an error of ours."""
    port, child, log = server
    codes = []
    threads = [
        threading.Thread(target=lambda i=i: codes.append(ask(port, ("/", "/api/runs", "/sweeps")[i % 3])))
        for i in range(50)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(codes) <= {200, 503, 0} and codes.count(200) >= 10, sorted(codes)
    assert ask(port) == 200
    assert _peak_bytes(child.pid) < 400e6 and "Traceback" not in log.read_text()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_bytes(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024
