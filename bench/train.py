"""Models per CPU-second of the ensemble trainer against a plain PyTorch loop, measured side by side in one process."""

import argparse
import platform
from collections.abc import Callable
from time import process_time

import torch
from torch import Tensor, nn

from digsite.models import build, parse
from digsite.train import Ensemble, Member, prepare_process, seeds, share_data

MLP = {"kind": "mlp", "sizes": [64, 32, 16, 10]}
CNN = {"kind": "small_cnn", "padding": 1}
TRANSFORMER = {
    "kind": "transformer",
    "image": [1, 8, 8],
    "patch": 2,
    "d_model": 32,
    "d_mlp": 64,
    "n_layers": 2,
}
BIG = {"kind": "mlp", "sizes": [784, 256, 128, 10]}
Data = tuple[Tensor, Tensor]


def clock(work: Callable[[], object], device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    start = process_time()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return process_time() - start


def plain_loop(spec: dict, data: Data, batch: int, steps: int, device: str) -> Callable[[], object]:
    """What everyone writes: one network, torch.optim.Adam, a random mini-batch each step."""
    model = build(parse(spec)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    x, y = (part.to(device) for part in data)

    def run() -> None:
        for _ in range(steps):
            rows = torch.randint(0, len(x), (batch,), device=device)
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


def ours(
    spec: dict, data: Data, members: list[Member], steps: int, device: str, **options
) -> Callable[[], object]:
    ensemble = Ensemble(build(parse(spec)), data, members, device=device, **options)

    def run() -> None:
        for _ in range(steps):
            ensemble.step()

    return run


def compare(
    name: str, spec: dict, data: Data, batch: int, count: int, device: str, steps: int, rows: list
) -> None:
    """Loop and ensembles take turns, so that a busy moment of the machine hits both; the median of the turns."""
    member = Member(batch=batch, steps=10**6)
    chunk = {"chunk": count} if device == "cuda" else {}
    runs = {
        "plain loop": plain_loop(spec, data, batch, steps, device),
        "own mini-batches": ours(spec, data, seeds(count, member), max(1, steps // 10), device, **chunk),
        "one shared mini-batch": ours(
            spec, data, share_data(seeds(count, member), 0), max(1, steps // 10), device, **chunk
        ),
        "vmap, own mini-batches": ours(
            spec, data, seeds(count, member), max(1, steps // 10), device, engine="vmap", **chunk
        ),
    }
    times: dict[str, list[float]] = {key: [] for key in runs}
    for turn in range(6):
        for key, run in runs.items():
            seconds = clock(run, device)
            if turn:  # the first one warms up
                taken = steps if key == "plain loop" else max(1, steps // 10) * count
                times[key].append(seconds / taken)
    loop = median(times["plain loop"])
    for key, values in times.items():
        one = median(values)
        rows.append(
            [name, batch, count if key != "plain loop" else 1, key, f"{1e6 * one:.1f}", f"{loop / one:.2f}"]
        )


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def table(columns: list[str], rows: list[list]) -> None:
    texts = [[str(cell) for cell in row] for row in [columns, *rows]]
    widths = [max(len(row[i]) for row in texts) for i in range(len(columns))]
    for row in texts:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(), flush=True
        )


def images(side: int, n: int = 2000) -> Data:
    return torch.rand(n, 1, side, side), torch.randint(0, 10, (n,))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="more members and larger networks")
    full = parser.parse_args().full
    tuned = prepare_process(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(
        f"torch {torch.__version__}, Python {platform.python_version()}, {torch.get_num_threads()} thread, {device}, "
        f"allocator {'tuned for both' if tuned else 'as it is'}, Adam; time of one step of one network"
    )
    rows: list[list] = []
    count = 256 if device == "cuda" else 64
    for batch in (128, 32):
        compare("MLP 64-32-16-10", MLP, images(8), batch, count, device, 200, rows)
    for batch in (128, 32):
        compare(
            "Small CNN 28x28", CNN, images(28), batch, count if device == "cuda" else 16, device, 20, rows
        )
    if full:
        compare("MLP 64-32-16-10", MLP, images(8), 32, 256, device, 200, rows)
        compare("MLP 784-256-128-10", BIG, images(28), 128, 16, device, 30, rows)
        compare("transformer 32 x 2", TRANSFORMER, images(8), 32, 32, device, 40, rows)
    table(["network", "batch", "members", "how", "us", "ratio"], rows)
    print("\nGoals on one CPU thread: MLP 4.5 at batch 128 and 12 at 32; Small CNN 1.2 at 128 and 2.2 at 32.")


if __name__ == "__main__":
    main()
