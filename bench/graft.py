"""Grafting: quality on both couples beside the targets, and the CPU-seconds of it; --full is five seeds."""

import argparse
import tempfile
from pathlib import Path
from time import process_time, time

import pandas as pd
import torch

from digsite.base.errors import DigsiteError
from digsite.base.intervals import Interval
from digsite.data import load
from digsite.graft.config import CompareConfig, ForensicsConfig
from digsite.graft.core.maps import carry_widths, correlate_units, transport_units
from digsite.graft.core.metrics import percent_interval
from digsite.graft.core.nets import collect_acts, make_plain_net, read_matrices
from digsite.graft.judge.compare import compare_on_couple
from digsite.graft.judge.forensics import plant_on_couple as forensic_job
from digsite.models import build
from digsite.models.configs.dense import MlpConfig
from digsite.studies import find_study
from digsite.studies.plan import plan_run
from digsite.train import Member, train_ensemble

# (case, method, raw or calibrated, least and aimed transfer / preservation)
TARGETS = (
    ("no new-class image, same size (au)", "distill_data=au", "", "91 / 99", "96 / 99"),
    ("the same, calibrated", "distill_data=au", "calibrated_", "98 / 98", "99 / 98.5"),
    ("weights only, any size", "union_rule=guarded", "", "95 / 99", "97 / 99"),
    ("weights only, same size", "distill_strokes", "", "80 / 86", "85 / 97"),
    ("weights only, same size, no prior", "cascade", "", "", ""),
    (
        "shared classes only, calibrated",
        "ridge_all_data=s_n_widened=4000_rule=guarded",
        "calibrated_",
        "92 / 98",
        "95 / 98.5",
    ),
    ("published method, on training images", "aligned_spatial", "", "", "87.4 / 97.2 published"),
    ("null, calibrated", "null_dead_row", "calibrated_", "", ""),
)
METHODS = [
    "null_dead_row",
    "null_novelty",
    "distill data=au",
    "union",
    "union rule=guarded",
    "distill_strokes",
    "cascade",
    "ridge_all data=s n_widened=4000 rule=guarded",
    "aligned_spatial",
    "probe_all k=20",
    "finetune k=0",
]


def with_interval(at: Interval) -> str:
    """A single seed has no interval."""
    shown = "" if at.low is None or at.high is None else f"({at.low:.1f} to {at.high:.1f})"
    return f"{at.value:>7.1f} {shown:<17}"


def quality(data: str, seeds: int) -> None:
    config = CompareConfig.model_validate({"data": data, "methods": METHODS, "geometry": ""})
    for pair in (("mega", "mega"), ("wide", "deep")):
        done = [compare_on_couple(config.model_dump(), pair, seed) for seed in range(seeds)]
        print(
            f"\n{data}: {pair[0]} <- {pair[1]}, {seeds} seed(s); receiver alone "
            f"P {percent_interval([d['receiver_preservation'] for d in done]).value:.1f}"
        )
        print(f"{'case':<40}{'T (interval)':>25}{'P':>8}{'F':>8}{'noise T':>9}   must       aim")
        for case, method, kind, must, aim in TARGETS:
            rows = [r for d in done for r in d["rows"] if r["method"] == method]
            if not rows:  # row surgery, and two shapes
                continue
            t, p, f = (
                percent_interval([r[f"{kind}{k}"] for r in rows])
                for k in ("transfer", "preservation", "foreign_as_new")
            )
            noise = percent_interval([r[f"noise_{kind}transfer"] for r in rows]).value
            print(
                f"{case:<40}{with_interval(t)}{p.value:>8.1f}{f.value:>8.1f}{noise:>9.1f}   {must:<11}{aim}"
            )
        print("ceiling by layer: " + ", ".join(f"{row['ceiling']:.0f}" for row in done[0]["ceiling"]))


def forensics(data: str, seeds: int) -> None:
    """AUROC by layer with its 95 % interval, and how many native rows are flagged with nothing and with a graft there."""
    config = ForensicsConfig.model_validate({"data": data})
    rows = [
        row
        for seed in range(seeds)
        for row in forensic_job(config.model_dump(), ("mega", "mega"), seed)["rows"]
    ]
    found = pd.DataFrame(rows)
    print(
        f"\n{data}: AUROC of planted rows by layer, median with its 95 % interval, mega, {seeds} seed(s); 1/16 of the rows; last column: native rows flagged"
    )
    for case, part in found.groupby("case", sort=False):
        line = ""
        for _, layer in part.groupby("layer"):
            at = percent_interval(layer["auroc"].tolist())
            line += with_interval(at)
        print(f"{case!s:<26}{line}{part['false_alarms'].mean():>8.1f} %")


SIZES = ((64, 48, 24, 10), (64, 96, 48, 10))  # the second network is carried into the widths of the first


def widths(seeds: int) -> None:
    """Accuracy of a network carried into another one's widths, and of the mean of both; nothing is trained after it."""
    images = load("digits")
    x, held = (
        (part - images.x_train.mean()) / images.x_train.std() for part in (images.x_train, images.x_test)
    )
    rows: list[dict[str, float]] = []
    for seed in range(seeds):
        nets = [train_chain(sizes, x, images.y_train, 2 * seed + i) for i, sizes in enumerate(SIZES)]
        (wa, ba), (wb, bb) = (read_matrices(net) for net in nets)
        ours, theirs = (collect_acts(net, x).hidden for net in nets)
        draw = torch.Generator().manual_seed(seed)
        scores = {
            "transport by activations": [correlate_units(a, b) for a, b in zip(ours, theirs)],
            "a random plan": [
                torch.randn(a.shape[1], b.shape[1], generator=draw) for a, b in zip(ours, theirs)
            ],
        }
        plans = {name: [transport_units(score) for score in each] for name, each in scores.items()}
        plans["cropped to the first units"] = [
            torch.eye(a.shape[1], b.shape[1], dtype=torch.float64) / a.shape[1] for a, b in zip(ours, theirs)
        ]
        row = {
            "receiver": accuracy(nets[0], held, images.y_test),
            "donor": accuracy(nets[1], held, images.y_test),
        }
        for name, each in plans.items():
            ws, bs = carry_widths(wb, bb, each)
            row[name] = accuracy(make_plain_net(ws, bs), held, images.y_test)
            middle = [[(a + b) / 2 for a, b in zip(*pair)] for pair in ((wa, ws), (ba, bs))]
            row[f"{name}: mean with the receiver"] = accuracy(make_plain_net(*middle), held, images.y_test)
        rows.append(row)
    print(f"\ndigits, {SIZES[1]} carried into {SIZES[0]}, {seeds} couple(s): accuracy on held-out images")
    for name, values in pd.DataFrame(rows).items():
        at = percent_interval((100 * values).tolist())
        print(f"{name!s:<58}{with_interval(at)}")


def train_chain(sizes: tuple[int, ...], x: torch.Tensor, y: torch.Tensor, seed: int) -> torch.nn.Module:
    """A ReLU network on the images, 600 steps of Adam."""
    net = build(MlpConfig.model_validate({"sizes": sizes}), seed=seed)
    return train_ensemble(net, (x, y), [Member(seed=seed, batch=64, steps=600)]).ensemble.module(0)


def accuracy(net: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    with torch.no_grad():
        return float((net(x).argmax(1) == y).float().mean())


def speed(data: str) -> None:
    """One couple of one seed through every method of graft-all, training included the first time."""
    config = plan_run(find_study("graft-all")).config.model_copy(update={"data": data, "grids": []})
    for pair in (("mega", "mega"), ("wide", "deep")):
        start, wall = process_time(), time()
        done = compare_on_couple(config.model_dump(), pair, 0)
        print(
            f"{len(done['rows'])} methods with ablations, {pair[0]} <- {pair[1]}, one seed: "
            f"{process_time() - start:.0f} CPU-seconds ({time() - wall:.0f} s by the wall clock)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="MNIST with five seeds instead of one")
    seeds = 5 if parser.parse_args().full else 1
    with tempfile.TemporaryDirectory() as cache:
        import os

        os.environ.setdefault("DIGSITE_CACHE", str(Path(cache)))
        try:
            load("mnist")
            data = "mnist"
        except DigsiteError as error:  # no data here: the bundled digits still say something
            print(f"MNIST is not here ({error}); digits instead")
            data = "digits"
        widths(seeds)
        quality(data, seeds)
        forensics(data, seeds)
        speed(data)


if __name__ == "__main__":
    main()
