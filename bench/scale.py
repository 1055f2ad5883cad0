"""Sweeps: how long planning, listing and starting 1,000 trivial runs take, and what a packed sweep costs."""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PLUGIN = Path(__file__).parents[1] / "tests" / "plugin"
sys.path.insert(0, str(PLUGIN))
os.environ["PYTHONPATH"] = os.pathsep.join([str(PLUGIN), os.environ.get("PYTHONPATH", "")])


def children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def timed(words: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of one command."""
    cpu, wall = children_cpu(), time.perf_counter()
    subprocess.run([sys.executable, "-m", "digsite", *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - wall, children_cpu() - cpu


def trivial(root: Path, n: int) -> None:
    from digsite.launch import Options, launch_sweep
    from digsite.record import list_statuses
    from digsite.studies import sweep

    began = time.process_time()
    spaces = sweep.spaces_from_words(
        ["countdown"], ["steps=1", "sleep_s=0", f"fail_at={-n}..-1"], samples=1, seed=0
    )
    planned = sweep.write_sweep(sweep.plan_jobs(spaces, extra=[PLUGIN / "studies"]), root, name="trivial")
    sweep.pin_code(planned)
    print(f"plan {n} runs, copy code {time.process_time() - began:6.2f} CPU-s   (must <= 3)")
    began = time.process_time()
    assert len(list_statuses(root)) == n
    print(f"list {n} runs            {time.process_time() - began:6.2f} CPU-s   (must <= 0.3)")
    imports = 2 * import_cpu()
    cpu, wall = children_cpu(), time.perf_counter()
    assert launch_sweep(planned, "local:2", Options()) == 0
    wall, cpu = time.perf_counter() - wall, children_cpu() - cpu - imports
    print(
        f"execute {n} on local:2   {wall:6.1f} s wall, {1000 * cpu / n:.0f} CPU-ms a run beyond the import (must <= 60)"
    )


def import_cpu() -> float:
    """What a worker spends before its first run."""
    cpu = children_cpu()
    code = "import digsite.worker.execute, digsite.cli._start, digsite.report"
    subprocess.run([sys.executable, "-c", code], check=True)
    return children_cpu() - cpu


def packed(root: Path, seeds: int, *size: str) -> None:
    _, one = timed(["sweep", "tms_5-2", "seed=100", *size, "--runs", str(root / "one")])
    _, many = timed(["sweep", "tms_5-2", f"seed=0..{seeds - 1}", *size, "--runs", str(root / "many")])
    print(
        f"tms_5-2 {' '.join(size)}: one run {one:.0f} CPU-s, {seeds} packed {many:.0f} CPU-s: {many / one:.1f}x (must <= 3)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--full", action="store_true", help="the packed sweep in full size instead of quick size: hours"
    )
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="digsite-bench-"))
    try:
        trivial(root, 1000)
        packed(root, 16, *([] if arguments.full else ["--quick"]))
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
