"""The dashboard at size: memory and list time over 20,000 runs, a 4096 x 11008 mask from click to cells.

Times are CPU time of the server process between two requests, so a busy machine does not change them; the wall clock
is beside them.
"""

import argparse
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from digsite.base import atomic
from digsite.record.layout import RunDir, create_run
from digsite.record.results import Claim
from digsite.record.status import Status, write_status
from digsite.report import write_report

RUNS, ROWS, COLUMNS = 20_000, 4096, 11008
CONFIG = {
    "seed": 0,
    "train": {"lr": 0.01, "steps": 2000, "batch": 256},
    "model": {"kind": "tms", "n_features": 5},
    "losses": [{"kind": "recon", "coeff": 1.0}, {"kind": "sparsity", "coeff": 0.003}],
}

CLAIM = Claim("score", 0.5, 0.1, 0.9, 5, 0.0)


def make_runs(root: Path) -> None:
    for i in range(RUNS):
        config = {**CONFIG, "seed": i, "train": {**CONFIG["train"], "lr": 10 ** -(1 + i % 4)}}
        run = create_run(
            root, {"study": f"study-{i % 10}", "method": "a.b", "size": "full", "config": config}
        )
        state = ("finished", "finished", "finished", "failed", "planned")[i % 5]
        moment = 1.7e9 + i
        write_status(
            run.status_file,
            Status(
                state, f"study-{i % 10}", run.id, i, created=moment, started=moment, ended=moment + i % 100
            ),
        )
        if state == "finished":
            verdict = "The score is what it is. Nothing more."
            atomic.write_json(
                run.results, {"schema": 1, "study": "s", "verdict": verdict, "claims": [asdict(CLAIM)]}
            )


def make_mask(root: Path) -> RunDir:
    rng = np.random.default_rng(0)
    keep = rng.random((ROWS, COLUMNS), dtype=np.float32) < rng.beta(2, 2, (ROWS, 1)).astype(np.float32)
    run = create_run(root, {"study": "mask", "method": "a.b", "config": {"seed": 0}})
    write_status(run.status_file, Status("finished", "mask", run.id))
    run.artifacts.mkdir()
    tensors = {
        "bits": np.packbits(keep, axis=1, bitorder="little"),
        "w": rng.normal(size=(ROWS, COLUMNS)).astype(np.float32),
    }
    save_file(tensors, run.artifacts / "m.safetensors")
    source = "artifacts/m.safetensors#"
    run.views.write_text(
        json.dumps(
            [
                {"name": "bits", "kind": "matrix", "source": f"{source}bits", "bits": COLUMNS},
                {"name": "w", "kind": "matrix", "source": f"{source}w"},
            ]
        )
    )
    return run


class Server:
    def __init__(self, root: Path) -> None:
        words = [sys.executable, "-m", "digsite", "serve", "--port", "0", "--runs", str(root)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        found = re.search(r"http://([\d.]+):(\d+)/", self.process.stdout.readline())
        assert found, "the server did not start"
        self.connection = http.client.HTTPConnection(found[1], int(found[2]), timeout=120)

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> tuple[float, float]:
        """Now and at most, in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return tuple(int(re.findall(rf"{name}:\s+(\d+)", status)[0]) / 1e3 for name in ("VmRSS", "VmHWM"))  # type: ignore

    def get(self, path: str) -> bytes:
        self.connection.request("GET", path)
        answer = self.connection.getresponse()
        body = answer.read()
        assert answer.status == 200, (path, answer.status, body[:200])
        return body

    def timed(self, *paths: str, repeat: int = 1) -> tuple[float, float]:
        """Milliseconds of CPU and of wall clock per round over these paths."""
        cpu, wall = self.cpu(), time.perf_counter()
        for _ in range(repeat):
            for path in paths:
                self.get(path)
        return (self.cpu() - cpu) / repeat * 1e3, (time.perf_counter() - wall) / repeat * 1e3


def show(what: str, value: float, unit: str, limit: float | None, note: str = "") -> bool:
    """One line of the table; the limit is the number to reach."""
    met = limit is None or value <= limit
    goal = "" if limit is None else f"<= {limit:g}"
    print(f"{what:66} {value:9.1f} {unit:4} {goal:9} {'' if met else 'MISSED':7}{note}", flush=True)
    return met


def list_lines(server: Server) -> list[bool]:
    first = server.timed("/")
    settled = server.timed("/", repeat=40)
    filtered = server.timed("/?q=study-3&state=finished", repeat=20)
    config = server.timed("/?where=lr%3C0.01+kind%3Dtms")
    again = server.timed("/?where=lr%3C0.01+kind%3Dtms", repeat=10)
    everything = server.timed("/api/runs")
    wall = " wall {:.0f} ms".format
    return [
        show(
            "first answer; only names were looked at before the address was printed",
            first[0],
            "ms",
            500,
            wall(first[1]),
        ),
        show("list, afterwards", settled[0], "ms", 500, wall(settled[1])),
        show("list, searched and filtered by state", filtered[0], "ms", 500, wall(filtered[1])),
        show("list, filtered by config, first time", config[0], "ms", 500, wall(config[1])),
        show("list, filtered by config, afterwards", again[0], "ms", 500, wall(again[1])),
        show("/api/runs, everything", everything[0], "ms", None, wall(everything[1])),
        show("memory after that", server.memory()[0], "MB", 150),
    ]


def matrix_lines(server: Server, run: RunDir, name: str) -> list[bool]:
    base = f"/api/runs/mask/{run.id}"
    tiles = [f"{base}/tile?name={name}&level=3&row={r}&column={c}" for r in range(2) for c in range(6)]
    opened = server.timed(f"{base}/view?name={name}", *tiles)
    around = [(r, c) for r in (1, 2) for c in (1, 2, 3)]
    zoomed = [
        server.timed(*(f"{base}/tile?name={name}&level={level}&row={r}&column={c}" for r, c in around))
        for level in (2, 1, 0)
    ]
    sorted_ = server.timed(
        f"{base}/view?name={name}&rows=size&columns=size", *(f"{t}&rows=size&columns=size" for t in tiles)
    )
    near = server.timed(f"{base}/near?name={name}&axis=rows&index=7")
    worst = max(zoomed, key=lambda pair: pair[0])
    wall = " wall {:.0f} ms".format
    what = f"{ROWS} x {COLUMNS} {'mask' if name == 'bits' else 'float32 matrix'}"
    return [
        show(f"{what} opened (12 tiles)", opened[0], "ms", 1000, wall(opened[1])),
        show(f"{what}, slowest zoom step (6 tiles)", worst[0], "ms", 100, wall(worst[1])),
        show(f"{what} sorted both ways (12 tiles)", sorted_[0], "ms", None, wall(sorted_[1])),
        show(f"{what}, neighbors of a row", near[0], "ms", None, wall(near[1])),
    ]


def report_lines(root: Path) -> list[bool]:
    """A study with thirty figures of which some are big."""
    run = create_run(root, {"study": "big", "method": "a.b", "config": CONFIG})
    write_status(run.status_file, Status("finished", "big", run.id))
    run.figures.mkdir()
    rng = np.random.default_rng(0)
    for i in range(30):
        (run.figures / f"f{i:02d}.png").write_bytes(rng.bytes(400_000))
    begin = time.process_time()
    write_report([run], run.report)
    spent = (time.process_time() - begin) * 1e3
    return [
        show(
            "report of 30 figures of 0.4 MB",
            run.report.stat().st_size / 1e6,
            "MB",
            10,
            f" {spent:.0f} ms CPU",
        )
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="the same: it is at full size already")
    parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "runs"
        make_runs(root)
        run = make_mask(root)
        server = Server(root)
        try:
            met = list_lines(server)
            for name in ("bits", "w"):
                met += matrix_lines(server, run, name)
            met.append(
                show(
                    "memory with both matrices open",
                    server.memory()[0],
                    "MB",
                    None,
                    f" at most {server.memory()[1]:.0f} MB",
                )
            )
            met += report_lines(root)
        finally:
            server.process.terminate()
            server.process.communicate()
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
