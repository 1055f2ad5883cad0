"""Zoos: how fast they are written, opened and made."""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import pandas as pd
import torch

from digsite.train import prepare_process
from digsite.zoo import Architecture, Part, Zoo, ZooWriter
from digsite.zoo.config import ZooConfig
from digsite.zoo.make import make_zoo

MEMBERS, WIDTH, LABELS = 5000, 1700, 30


def timed(work: Callable[[], object], repeats: int = 5) -> tuple[float, float]:
    """Best wall-clock and CPU seconds: the machine may be busy, and a best time is what the code needs."""
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = perf_counter(), process_time()
        work()
        walls.append(perf_counter() - wall)
        cpus.append(process_time() - cpu)
    return min(walls), min(cpus)


def write(folder: Path, rows: torch.Tensor, table: pd.DataFrame) -> None:
    shape = Architecture({"kind": "mlp"}, ("w",), ((WIDTH,),), {})
    writer = ZooWriter(folder, "bench", (0,), {})
    writer.begin()
    writer.write(0, [Part(shape, 0, {0: rows}, table)])
    writer.finish(1)


def read_all(folder: Path) -> torch.Tensor:
    return Zoo.open(folder).params.sum()


def read_one(folder: Path) -> torch.Tensor:
    return Zoo.open(folder).member(MEMBERS // 2).tensors["w"].sum()


def storage(root: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        rng.random((MEMBERS, LABELS)).round(6), columns=[f"label_{i}" for i in range(LABELS)]
    )
    table.insert(0, "member", np.arange(MEMBERS))
    rows = torch.rand(MEMBERS, WIDTH)
    numbers = iter(range(100))
    wall, cpu = timed(lambda: write(root / f"z{next(numbers)}", rows, table))
    print(
        f"write {MEMBERS} members of {WIDTH} parameters, {LABELS} labels   {wall:.3f} s ({cpu:.3f} CPU)   goal 0.5 s"
    )
    folder = root / "z0"
    wall, cpu = timed(lambda: Zoo.open(folder))
    print(
        f"open                                            {1e3 * wall:.2f} ms                    goal 10 ms"
    )
    wall, cpu = timed(lambda: read_all(folder))
    print(f"open and read every weight                      {1e3 * wall:.1f} ms")
    wall, cpu = timed(lambda: Zoo.open(folder).labels)
    print(f"open and read the table                         {1e3 * wall:.1f} ms")
    wall, cpu = timed(lambda: read_one(folder))
    print(f"open and read one member                        {1e3 * wall:.2f} ms")


def making(root: Path, members: int) -> None:
    config = ZooConfig.model_validate({"members": members})
    start = process_time()
    for _ in make_zoo(config, root / "made", "bench"):
        pass
    taken = process_time() - start
    accuracy = Zoo.open(root / "made").labels["test_accuracy"].quantile([0, 0.1, 0.25, 0.5, 0.75, 0.9, 1])
    print(
        f"make {members} MLPs 64-32-16-10, 800 steps of 64, 5 checkpoints, all labels   {taken:.1f} CPU-s "
        f"= {taken * 2000 / members:.0f} CPU-s for 2,000   goal 150"
    )
    print(f"test accuracy, least to best, by quantiles 0 10 25 50 75 90 100 %: {accuracy.round(2).tolist()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="make all 2,000 networks and not 250")
    full = parser.parse_args().full
    prepare_process(1)
    print(f"torch {torch.__version__}, 1 thread")
    with tempfile.TemporaryDirectory() as folder:
        storage(Path(folder))
        making(Path(folder), 2000 if full else 250)


if __name__ == "__main__":
    main()
