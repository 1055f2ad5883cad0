"""Seconds of CPU to describe 2,000 networks, and a reader's training step beside an edge-list graph network's.

`--full` makes three zoos of 2,000 networks, trains every reader on each and prints what was reached beside the goals; then
the studies of known trigger places, of convolutional networks and of published ones.
"""

import argparse
import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from time import process_time
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn

from _studies import tell
from digsite.models import build, parse
from digsite.read.core.edges import compile_population, shape_of
from digsite.read.core.feature_engine import find_extractor
from digsite.read.core.graphnet import GraphNet
from digsite.read.core.population import Known, Population, group_networks, stack_models
from digsite.read.core.readers import nwpa
from digsite.read.core.tasks import TASKS
from digsite.read.judge.describe import describe_layers
from digsite.record import read_results
from digsite.studies import find_study
from digsite.studies.plan import plan_run, start_run
from digsite.worker.execute import How, execute_run
from digsite.zoo.config import ZooConfig
from digsite.zoo.make import make_zoo

torch.set_num_threads(1)
SIZES, WIDTH, NETS = (64, 32, 16, 10), 48, 64
STUDIES = ("nwa-corner-trigger", "nwa-small-cnn", "nwa-wild-cnn", "group-zoo")
GOALS = {  # claim: (must, aim)
    "ensemble/test_accuracy/tau": (0.75, 0.80),
    "ensemble/test_accuracy/r2": (0.89, 0.92),
    "hybrid/test_accuracy/tau": (0.77, 0.83),
    "ensemble/init/accuracy": (0.87, 0.92),
    "ensemble/activation/accuracy": (0.84, 0.90),
    "ensemble/optimizer/accuracy": (0.67, 0.75),
    "ensemble/log_lr/r2": (0.88, 0.92),
    "ensemble/missing_class/accuracy": (0.77, 0.88),
    "ensemble/backdoor/auroc": (0.70, 0.85),
}


def networks(count: int) -> Population:
    g = torch.Generator().manual_seed(0)
    tensors = {}
    for i, (a, b) in enumerate(pairwise(SIZES)):
        tensors[f"layers.{i}.weight"] = torch.randn(count, b, a, generator=g) / a**0.5
        tensors[f"layers.{i}.bias"] = torch.randn(count, b, generator=g) / 10
    return Population([group_networks(tensors, np.arange(count), Known("relu"))], count)


def fastest(work: Callable[[], object], times: int = 3) -> float:
    took = []
    for _ in range(times):
        begin = process_time()
        work()
        took.append(process_time() - begin)
    return min(took)


def features() -> None:
    people = networks(2000)
    for kind, goal in (("statistics", 0.15), ("spectra", 0.15), ("neurons", None)):
        extract = find_extractor(kind)
        assert extract is not None
        took = fastest(lambda extract=extract: extract(people.groups[0]))
        print(f"features of 2,000 networks: {kind:<11} {took:.3f} s" + (f"   goal {goal}" if goal else ""))


class EdgeList(nn.Module):
    """A two-layer message per weight, summed at its target: forward and backward, equal width and rounds."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead, self.back = (
            nn.Sequential(nn.Linear(2 * WIDTH + 1, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
            for _ in range(2)
        )
        self.update = nn.Sequential(nn.Linear(2 * WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
        self.start = nn.Parameter(torch.randn(sum(SIZES), WIDTH) / 2)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, ends: Tensor, weights: Tensor, count: int) -> Tensor:
        states = self.start.repeat(count, 1)
        for message, source, target in ((self.ahead, ends[0], ends[1]), (self.back, ends[1], ends[0])):
            heard = self.propagate(message, states, source, target, weights)
            states = states + self.update(torch.cat([states, heard], 1))
        return self.head(states.reshape(count, -1, WIDTH).mean(1))

    def propagate(
        self, message: nn.Module, states: Tensor, source: Tensor, target: Tensor, weights: Tensor
    ) -> Tensor:
        sent = message(torch.cat([states[source], states[target], weights], 1))
        return torch.zeros_like(states).index_add(0, target, sent)


def geometric() -> type[EdgeList] | None:
    """The same network on torch-geometric's message passing, if it is installed."""
    if importlib.util.find_spec("torch_geometric") is None:
        return None
    from torch_geometric.nn import MessagePassing  # pyright: ignore[reportMissingImports]

    class Passing(MessagePassing):
        def __init__(self) -> None:
            super().__init__(aggr="sum")

        def forward(self, states, ends, weights, inner):
            self.inner = inner
            return self.propagate(ends, x=states, weights=weights)

        def message(self, x_i, x_j, weights):
            return self.inner(torch.cat([x_j, x_i, weights], 1))

    class Geometric(EdgeList):
        def __init__(self) -> None:
            super().__init__()
            self.passing = Passing()

        def propagate(self, message, states, source, target, weights):
            return self.passing(states, torch.stack([source, target]), weights, message)

    return Geometric


def edge_list(people: Population) -> tuple[Tensor, Tensor]:
    """(2, edges) and (edges, 1) of all networks side by side, as a graph library wants them."""
    starts = np.concatenate([[0], np.cumsum(SIZES)])
    ends, weights = [], []
    for k in range(NETS):
        for i in range(len(SIZES) - 1):
            w = people.groups[0].tensors[f"layers.{i}.weight"][k]
            target, source = torch.meshgrid(torch.arange(w.shape[0]), torch.arange(w.shape[1]), indexing="ij")
            offset = k * sum(SIZES)
            ends.append(
                torch.stack([source + starts[i] + offset, target + starts[i + 1] + offset]).flatten(1)
            )
            weights.append(w.reshape(-1, 1))
    return torch.cat(ends, 1).long(), torch.cat(weights)


def training_step() -> None:
    people = networks(NETS)
    (_, batch), *_ = nwpa.TopologyPools(compile_population(people, True)).batches(NETS, None)
    net = GraphNet(
        dict(shape_of(people).keys),
        dict(shape_of(people).identities),
        [TASKS["test_accuracy"]],
        width=WIDTH,
        rounds=1,
        dropout=0,
        edge_dropout=0,
    )
    ends, weights = edge_list(people)

    def step(model: nn.Module, call: Callable[[], Tensor]) -> None:
        model.zero_grad()
        call().square().mean().backward()

    ours = fastest(lambda: step(net, lambda: net(batch)["test_accuracy"]), 5)
    print(f"training step on {NETS} networks, width {WIDTH}, no dropout: nwpa {ours * 1e3:.0f} ms")
    for name, kind in (("plain edge list", EdgeList), ("torch-geometric", geometric())):
        if kind is None:
            print(f"  {name}: not installed")
            continue
        model = kind()
        took = fastest(lambda model=model: step(model, lambda: model(ends, weights, NETS)))
        print(f"  {name}: {took * 1e3:.0f} ms, {took / ours:.1f} times as long   goal 15")


def describe_one() -> None:
    model = build(parse({"kind": "mlp", "sizes": list(SIZES)}))
    ours = fastest(lambda: describe_layers(stack_models([model])))
    print(f"describe one network: {ours * 1e3:.1f} ms")
    watcher: ModuleType | None = None
    if importlib.util.find_spec("weightwatcher"):
        watcher = importlib.import_module("weightwatcher")
    if watcher is None:
        print("  weightwatcher: not installed")
        return
    took = fastest(lambda: watcher.WeightWatcher(model=model).analyze(), 2)
    print(f"  weightwatcher: {took * 1e3:.0f} ms, {took / ours:.0f} times as long")


def zoo_speed(folder: Path, members: int = 200) -> None:
    begin = process_time()
    for _ in make_zoo(ZooConfig.model_validate({"members": members}), folder, "bench"):
        pass
    took = (process_time() - begin) * 2000 / members
    print(f"zoo of 2,000 networks: {took:.0f} s (from {members})   goal 150")


def quality(folder: Path, seeds: int = 3) -> Iterator[str]:
    """Every reader on three zoos; the corner study adds the known trigger place."""
    run = start_run(plan_run(find_study("nwa"), overrides=[f"seeds={seeds}"]), folder)
    assert execute_run(run, How(device="cpu", quiet=True)) == 0, run.error.read_text()
    results = read_results(run.results)
    assert results is not None
    claims = {c.name: c for c in results.claims}
    for name, (must, aim) in GOALS.items():
        c = claims[name]
        reached = "aim" if c.value >= aim else "must" if c.value >= must else "missed"
        yield f"{name:<32} {c.value:.3f} ({c.low:.3f} to {c.high:.3f})   must {must} aim {aim}   {reached}"
    for name in ("ceiling/log_lr/r2", "ceiling/optimizer/accuracy", "ensemble/log_effective_lr/r2"):
        yield f"{name:<32} {claims[name].value:.3f}"
    for kind in ("statistics", "nwpa", "ensemble", "hybrid"):
        yield f"{kind}: coverage {claims[f'{kind}/coverage'].value:.3f}   must 0.88 to 0.92"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="three zoos, every reader: hours")
    full = parser.parse_args().full
    features()
    training_step()
    describe_one()
    with tempfile.TemporaryDirectory() as folder:
        zoo_speed(Path(folder) / "zoo")
        if full:
            for line in quality(Path(folder)):
                print(line, flush=True)
    for study in STUDIES if full else ():
        tell(study, first=16)


if __name__ == "__main__":
    main()
