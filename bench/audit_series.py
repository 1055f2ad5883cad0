"""CPU time and memory of the audit of 150 checkpoints of 1 GB: `python bench/audit_series.py [checkpoints] [megabytes]`.

The files are sparse: their sampled places are written and the rest is a hole, so that the disk is not filled. A hole is read from the
page cache like a cold page from the disk, but without waiting: CPU time is that of real files, wall time is not.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LAYERS, SHARES = (
    24,
    (("attention.query_key_value", 3), ("attention.dense", 1), ("mlp.up", 4), ("mlp.down", 4)),
)


def write_sparse(path: Path, megabytes: int, step: int) -> None:
    """A safetensors file with the tensors of a 24-layer transformer in half precision, written at its sampled places."""
    from digsite.track.subjects.checkpoint_prints import LEAST, TOTAL, draw_places

    width = int((megabytes * 1e6 / 2 / (LAYERS * 12)) ** 0.5)
    shapes = {f"layers.{i}.{n}.weight": (k * width, width) for i in range(LAYERS) for n, k in SHARES}
    shapes |= {f"layers.{i}.{n}.bias": (k * width,) for i in range(LAYERS) for n, k in SHARES}
    header, at, rng = {}, 0, np.random.default_rng(7)
    for name, shape in shapes.items():
        size = int(np.prod(shape)) * 2
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        start = file.tell()
        for name, shape in shapes.items():
            for a, b in draw_places(f"{name}{shape}", int(np.prod(shape)), max(TOTAL // len(shapes), LEAST)):
                file.seek(start + header[name]["data_offsets"][0] + 2 * a)
                first, last = rng.standard_normal((2, b - a))
                file.write((first + (last - first) * step / 200).astype(np.float16).tobytes())
        file.truncate(start + at)


def measure(folder: Path) -> None:
    """In a process of its own: reads, judges, and prints CPU seconds and peak memory above that of the imports."""
    from digsite.track.judge.series_audit import audit_series
    from digsite.track.subjects import checkpoints
    from digsite.track.subjects.checkpoint_prints import read_prints

    stored = checkpoints.checkpoint_steps(folder)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.process_time()
    found = audit_series(list(read_prints(stored)))
    spent = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{len(stored)} checkpoints: {spent:.1f} CPU-s, peak {peak:.0f} MB ({before:.0f} MB after imports); {found.verdict()}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", type=int, nargs="?", default=150)
    parser.add_argument("megabytes", type=int, nargs="?", default=1000, help="of each")
    parser.add_argument("--measure", type=Path, help="audit this folder and print what it took")
    parser.add_argument("--full", action="store_true", help="the same: 150 checkpoints take seconds")
    arguments = parser.parse_args()
    if arguments.measure:
        return measure(arguments.measure)
    count, megabytes = arguments.checkpoints, arguments.megabytes
    with tempfile.TemporaryDirectory() as folder:
        for i in range(count):
            write_sparse(Path(folder) / f"step_{1000 * i}.safetensors", megabytes, i)
        print(f"{count} files of {megabytes} MB; ", end="", flush=True)
        subprocess.run([sys.executable, __file__, "--measure", folder], check=True)


if __name__ == "__main__":
    main()
