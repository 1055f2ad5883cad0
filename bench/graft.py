"""Grafting: quality on both couples beside the targets, and the CPU-seconds of it; --full is five seeds."""

import argparse
import tempfile
from pathlib import Path
from time import process_time, time

from digsite.base.errors import DigsiteError
from digsite.data import load
from digsite.graft.compare import job
from digsite.graft.config import CompareConfig
from digsite.graft.metrics import interval
from digsite.graft.planted import job as forensic_job
from digsite.studies import find_study
from digsite.studies.plan import plan

# what it should reach: (method, couple, raw or calibrated, least transfer, least preservation)
TARGETS = (
    ("no new-class image, same size (au)", "distill_au", "", 91, 99),
    ("the same, calibrated", "distill_au", "calibrated_", 98, 97.5),
    ("weights only, any size", "union_guarded", "", 95, 99),
    ("weights only, same size", "distill_strokes", "", 80, 86),
    ("shared classes only, calibrated", "ridge_all_s_4000_guarded", "calibrated_", 92, 97.5),
    ("published method, on training images", "aligned_spatial", "", 0, 0),
    ("null, calibrated", "null_dead_row", "calibrated_", 0, 0),
)
METHODS = [
    "null_dead_row", "null_novelty", "distill data=au", "union", "union rule=guarded", "distill_strokes", "cascade",
    "ridge_all data=s n_widened=4000 rule=guarded", "aligned_spatial", "probe_all k=20", "finetune k=0",
]  # fmt: skip


def quality(data: str, seeds: int) -> None:
    config = CompareConfig(data=data, methods=METHODS, ceiling=True, geometry="")
    for pair in (("mega", "mega"), ("wide", "deep")):
        done = [job(config.model_dump(), pair, seed) for seed in range(seeds)]
        print(f"\n{data}: {pair[0]} <- {pair[1]}, {seeds} seed(s); receiver alone "
              f"P {interval([d['receiver_preservation'] for d in done]).mean:.1f}")  # fmt: skip
        print(f"{'case':<40}{'T':>14}{'P':>8}{'F':>8}{'noise T':>9}   least T / P")
        for case, method, kind, least_t, least_p in TARGETS:
            rows = [next(r for r in d["rows"] if r["method"] == method) for d in done]
            t, p, f = (
                interval([r[f"{kind}{k}"] for r in rows])
                for k in ("transfer", "preservation", "foreign_as_new")
            )
            noise = interval([r[f"noise_{kind}transfer"] for r in rows]).mean
            least = f"{least_t} / {least_p}" if least_t else ""
            print(
                f"{case:<40}{t.mean:>8.1f} ±{t.sd:>4.1f}{p.mean:>8.1f}{f.mean:>8.1f}{noise:>9.1f}   {least}"
            )
        print("ceiling by layer: " + ", ".join(f"{row['ceiling']:.0f}" for row in done[0]["ceiling"]))


def forensics(data: str, seeds: int) -> None:
    from digsite.graft.config import ForensicsConfig

    config = ForensicsConfig(data=data)
    done = [forensic_job(config.model_dump(), ("mega", "mega"), seed)["rows"] for seed in range(seeds)]
    print(f"\n{data}: AUROC of planted rows by layer, mega, {seeds} seed(s); 1/16 of the rows")
    for case in dict.fromkeys(row["case"] for row in done[0]):
        layers = sorted({row["layer"] for row in done[0]})
        means = [interval([r["auroc"] for rows in done for r in rows if (r["case"], r["layer"]) == (case, n)]).mean
                 for n in layers]  # fmt: skip
        print(f"{case:<26}" + "".join(f"{m:>8.1f}" for m in means))


def speed(data: str) -> None:
    """One couple of one seed through every method of graft-all, training included the first time."""
    config = plan(find_study("graft-all")).config.model_copy(update={"data": data, "grids": []})
    for pair in (("mega", "mega"), ("wide", "deep")):
        start, wall = process_time(), time()
        done = job(config.model_dump(), pair, 0)
        print(f"{len(done['rows'])} methods with ablations, {pair[0]} <- {pair[1]}, one seed: "
              f"{process_time() - start:.0f} CPU-seconds ({time() - wall:.0f} s by the wall clock)")  # fmt: skip


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
        forensics(data, min(seeds, 3))
        speed(data)


if __name__ == "__main__":
    main()
