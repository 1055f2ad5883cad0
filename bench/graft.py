"""Grafting: quality on both couples beside the targets, and the CPU-seconds of it; --full is five seeds."""

import argparse
import tempfile
from pathlib import Path
from time import process_time, time

import pandas as pd

from digsite.base.errors import DigsiteError
from digsite.data import load
from digsite.graft.config import CompareConfig, ForensicsConfig
from digsite.graft.core.metrics import percent_interval
from digsite.graft.judge.compare import compare_on_couple
from digsite.graft.judge.forensics import plant_on_couple as forensic_job
from digsite.studies import find_study
from digsite.studies.plan import plan_run

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


def quality(data: str, seeds: int) -> None:
    config = CompareConfig.model_validate({"data": data, "methods": METHODS, "geometry": ""})
    for pair in (("mega", "mega"), ("wide", "deep")):
        done = [compare_on_couple(config.model_dump(), pair, seed) for seed in range(seeds)]
        print(
            f"\n{data}: {pair[0]} <- {pair[1]}, {seeds} seed(s); receiver alone "
            f"P {percent_interval([d['receiver_preservation'] for d in done]).mean:.1f}"
        )
        print(f"{'case':<40}{'T':>14}{'P':>8}{'F':>8}{'noise T':>9}   must       aim")
        for case, method, kind, must, aim in TARGETS:
            rows = [r for d in done for r in d["rows"] if r["method"] == method]
            if not rows:  # row surgery, and two shapes
                continue
            t, p, f = (
                percent_interval([r[f"{kind}{k}"] for r in rows])
                for k in ("transfer", "preservation", "foreign_as_new")
            )
            noise = percent_interval([r[f"noise_{kind}transfer"] for r in rows]).mean
            print(
                f"{case:<40}{t.mean:>8.1f} ±{t.sd:>4.1f}{p.mean:>8.1f}{f.mean:>8.1f}{noise:>9.1f}   {must:<11}{aim}"
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
        f"\n{data}: AUROC of planted rows by layer, mega, {seeds} seed(s); 1/16 of the rows; last column: native rows flagged"
    )
    for case, part in found.groupby("case", sort=False):
        line = ""
        for _, layer in part.groupby("layer"):
            at = percent_interval(layer["auroc"].tolist())
            line += f"{at.mean:>7.1f} ±{at.high - at.mean:>4.1f}"
        print(f"{case!s:<26}{line}{part['false_alarms'].mean():>8.1f} %")


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
        quality(data, seeds)
        forensics(data, seeds)
        speed(data)


if __name__ == "__main__":
    main()
