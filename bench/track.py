"""Overhead of tracking and speed of the spectra; `--full`: twice as many rounds, and the studies as shipped.

The detectors' tables are those of `bench/detector.py`.
"""

import argparse
import importlib.util
from collections.abc import Callable
from time import process_time

import numpy as np
import torch
from torch import Tensor, nn

from _studies import tell
from digsite.models import build, parse
from digsite.track import Probe, Tracker
from digsite.track.core import spectrum

MODELS: dict[str, tuple[dict, int, tuple[int, ...], int]] = {  # config, batch, input shape, probe inputs
    "small MLP": ({"kind": "mlp", "sizes": [784, 256, 128, 10]}, 64, (784,), 48),
    "wide MLP": ({"kind": "mlp", "sizes": [784, 512, 512, 512, 512, 10]}, 128, (784,), 64),
    "CNN": ({"kind": "cnn", "image": (3, 32, 32), "channels": [32, 64, 128]}, 64, (3, 32, 32), 16),
    "transformer": (
        {"kind": "transformer", "image": (1, 28, 28), "d_model": 128, "d_mlp": 512, "n_layers": 2},
        32,
        (1, 28, 28),
        8,
    ),
}
Hook = Callable[[int, Tensor], object]
PIECE = 50  # steps


def spectra_speed() -> None:
    a = (
        torch.randn(512, 4096, generator=torch.Generator().manual_seed(0)) * torch.linspace(1, 0.01, 4096)
        + 0.3
    )
    spectrum.table_spectrum(a)
    full = fastest(lambda: torch.linalg.svd(a, full_matrices=False))
    values_only = fastest(lambda: torch.linalg.svdvals(a))
    ours = fastest(lambda: spectrum.table_spectrum(a))
    error = (spectrum.table_spectrum(a).singular - torch.linalg.svdvals(a.double())).abs().max()
    error = float(error / torch.linalg.matrix_norm(a.double(), 2))
    print(f"\nspectra of 512 x 4096: {ours * 1e3:.0f} ms, error {error:.1e} of s1")
    print(
        f"full SVD {full * 1e3:.0f} ms, {full / ours:.1f} times as long; "
        f"singular values only {values_only * 1e3:.0f} ms, {values_only / ours:.1f} times"
    )


def fastest(work: Callable[[], object], times: int = 3) -> float:
    took = []
    for _ in range(times):
        start = process_time()
        work()
        took.append(process_time() - start)
    return min(took)


def loop(model: nn.Module, batch: int, shape: tuple[int, ...]) -> Callable[[int, Hook | None], float]:
    """A plain training loop on random data; returns CPU seconds per step."""
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(1024, *shape, generator=draw), torch.randint(0, 10, (1024,), generator=draw)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def run(steps: int, after: Hook | None) -> float:
        start = process_time()
        for step in range(steps):
            at = (step * batch) % (1024 - batch)
            loss = nn.functional.cross_entropy(model(x[at : at + batch]), y[at : at + batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if after is not None:
                after(step, loss.detach())
        return (process_time() - start) / steps

    return run


def overhead(rounds: int) -> None:
    """Untracked, untracked again (what the machine's noise is), tracked within budgets and completely, the successor.

    They take turns in pieces of 50 steps for at least 80 samples, in which all weights are read twice.
    """
    print("\noverhead of tracking every 10 steps, all measures, one thread (CPU time, taking turns)")
    upstream = "" if importlib.util.find_spec("ndt") else " (the package ndt is not installed: not measured)"
    print(f"{'model':<12}{'step':>9}   noise   budget 2 %  budget 4.5 %    no budget    successor{upstream}")
    for name, (spec, batch, shape, inputs) in MODELS.items():
        model = build(parse(spec))
        run = loop(model, batch, shape)
        run(10, None)
        trackers = {share: tracker(model, shape, inputs, share) for share in (0.02, 0.045, None)}
        took: dict[object, list[float]] = {who: [] for who in ("plain", "again", *trackers, "ndt")}
        for _ in range(max(rounds, int(2.0 / run(10, None) / PIECE))):
            took["plain"].append(run(PIECE, None))
            took["again"].append(run(PIECE, None))
            for share, one in trackers.items():
                one.budget.resume_training()
                took[share].append(run(PIECE, lambda _, loss, one=one: one.step(loss)))
            if not upstream:
                took["ndt"].append(successor(model, run, PIECE))
        base = float(np.mean(took["plain"]))
        more = {who: f"{np.mean(times) / base - 1:+6.1%}" for who, times in took.items() if times}
        cells = [f"{more[share]} ({samples(one):>4})" for share, one in trackers.items()]
        row = f"{more['again']}  {'  '.join(cells)}  {more.get('ndt', '')}"
        print(f"{name:<12}{base * 1e3:6.1f} ms  {row}", flush=True)
        own = ", ".join(f"{one.overhead:.1%}" for one in trackers.values())
        print(f"{'':<12}the trackers' own accounts: {own}; in brackets: share of due samples taken")


def tracker(model: nn.Module, shape: tuple[int, ...], inputs: int, share: float | None) -> Tracker:
    draw = torch.Generator().manual_seed(1)
    x, y = torch.randn(inputs, *shape, generator=draw), torch.randint(0, 10, (inputs,), generator=draw)
    return Tracker(model, Probe(x, y, n_rows=min(64, max(inputs, 48))), every=10, budget=share)


def samples(one: Tracker) -> str:
    taken = len(one.records.steps()) - 1
    return f"{taken / max(one.count // one.every, 1):.0%}"


def successor(model: nn.Module, run: Callable[[int, Hook | None], float], steps: int) -> float:
    """The tracker of the package this room grew out of, at the same cadence."""
    ndt = importlib.import_module("ndt")
    one = ndt.HighFrequencyTracker(model, sampling_frequency=10)
    try:
        return run(steps, lambda step, loss: one.log(step, float(loss)))
    finally:
        one.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="twice as many rounds, and the studies")
    parser.add_argument("--only", choices=["overhead", "spectra"], help="one part")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.only in (None, "spectra"):
        spectra_speed()
    if arguments.only in (None, "overhead"):
        overhead(32 if arguments.full else 16)
    if arguments.full and arguments.only is None:
        for study in ("grokking", "track-frozen", "track-random-labels"):
            tell(study)
        tell("ndt", "sets=[mnist,fashion_mnist,usps,stories]")  # the original's 55 cells: 40 CPU-minutes


if __name__ == "__main__":
    main()
