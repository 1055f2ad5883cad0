"""Grafting: quality on both couples beside the targets, and the CPU-seconds of it; --full is five seeds."""

import argparse
import tempfile
from pathlib import Path
from time import process_time, time

import pandas as pd
import torch

from digsite.base.errors import DigsiteError
from digsite.base.intervals import Interval, seed_interval
from digsite.data import load
from digsite.graft.config import CompareConfig, ForensicsConfig, StoriesConfig
from digsite.graft.core.llama_matching import LayerPlan, WidthPlan, carry_llama, plan_widths, watch_llama
from digsite.graft.core.llama_symmetries import LlamaShape, fold_gains
from digsite.graft.core.maps import carry_widths, correlate_units, transport_units
from digsite.graft.core.metrics import percent_interval
from digsite.graft.core.nets import collect_acts, make_plain_net, read_matrices
from digsite.graft.judge.compare import compare_on_couple
from digsite.graft.judge.forensics import plant_on_couple as forensic_job
from digsite.graft.subjects.stories import draw_windows, measure_loss, read_state, story_module
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


STRICT = (
    ["distill data=au", "union rule=guarded", "ridge_all data=s n_widened=4000 rule=guarded"],
    0.01,  # of the old images may be called new: half of what the tables above allow
)


def strict(data: str, seeds: int) -> None:
    """Preservation where fewer false alarms are allowed; the aim is 98.5 at a transfer of 95 to 99."""
    methods, rate = STRICT
    given = {"data": data, "methods": ["null_dead_row", *methods], "geometry": "", "grids": [], "rate": rate}
    config = CompareConfig.model_validate(given).model_dump()
    done = [compare_on_couple(config, ("mega", "mega"), seed)["rows"] for seed in range(seeds)]
    print(f"\n{data}: calibrated at {rate:.0%} of the old images, mega <- mega, {seeds} seed(s)")
    for method in dict.fromkeys(row["method"] for rows in done for row in rows):
        rows = [row for part in done for row in part if row["method"] == method]
        t, p = (
            percent_interval([row[f"calibrated_{k}"] for row in rows]) for k in ("transfer", "preservation")
        )
        print(f"{method:<50}T {with_interval(t)} P {with_interval(p)}")


FORENSIC_SEED = 2  # the first couple that is judged; the score of first layers was chosen on couples 0 and 1


def forensics(data: str, seeds: int) -> None:
    """AUROC by layer with its 95 % interval, and how many native rows are flagged with nothing and with a graft there."""
    config = ForensicsConfig.model_validate({"data": data})
    rows = [
        row
        for seed in range(FORENSIC_SEED, FORENSIC_SEED + seeds)
        for row in forensic_job(config.model_dump(), ("mega", "mega"), seed)["rows"]
    ]
    found = pd.DataFrame(rows)
    print(
        f"\n{data}: AUROC of planted rows by layer, median with its 95 % interval, mega, {seeds} seed(s) from {FORENSIC_SEED}; 1/16 of the rows; last column: native rows flagged"
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


STORY_WIDTHS = (
    {"d_model": 48, "d_mlp": 96, "n_heads": 6, "n_kv_heads": 3},
    {"d_model": 64, "d_mlp": 128, "n_heads": 8, "n_kv_heads": 4},
)
MORE_STEPS = 60  # of training after a model was carried


def story_widths(seeds: int) -> None:
    """Nats per token of story models carried into another width, both ways; nothing was chosen on any of them."""
    print(f"\nstory models carried into another width, {seeds} couple(s): nats per held-out token")
    configs = [StoriesConfig.model_validate({"seed": 21, "steps": 500, **sizes}) for sizes in STORY_WIDTHS]
    modules = [story_module(config) for config in configs]
    trained = [train_stories(*both, seeds, 500) for both in zip(modules, configs)]
    states = [
        [fold_gains(read_state(module, flat), LlamaShape.of_config(module.config)) for flat in flats]
        for module, flats in zip(modules, trained)
    ]
    for to, of in ((0, 1), (1, 0)):
        rows = [
            carry_stories(modules[to], modules[of], states[to][i], states[of][i], configs[to], i)
            for i in range(seeds)
        ]
        print(f"width {configs[of].d_model} into {configs[to].d_model}")
        for name, values in pd.DataFrame(rows).items():
            at = seed_interval(values.tolist(), "median")
            shown = "" if at.low is None else f"({at.low:.2f} to {at.high:.2f})"
            print(f"  {name!s:<66}{at.value:>7.2f} {shown}")


def train_stories(module, config, n: int, steps: int, start: torch.Tensor | None = None) -> torch.Tensor:
    """Flat weights of `n` story models, from scratch or from a start."""
    rows = draw_windows((), 4096, config.context, config.seed)
    members = [
        Member(seed=100 * config.seed + i, lr=3e-3, batch=32, steps=steps, schedule="cosine", warmup=20)
        for i in range(n)
    ]
    return train_ensemble(module, rows, members, loss="next_token", start=start).flat


def carry_stories(module, other, state, theirs, config, couple: int) -> dict[str, float]:
    """One couple: the receiver, the donor, and the donor carried by every way: alone, in the mean of both, and trained on."""
    held = draw_windows((), 300, config.context, config.seed + 5, "test")
    shown = draw_windows((), 128, config.context, config.seed + 4)
    shape, other_shape = (LlamaShape.of_config(m.config) for m in (module, other))
    module.load_state_dict(state)
    other.load_state_dict(theirs)
    draw = torch.Generator().manual_seed(couple)
    ours, seen = watch_llama(module, shown), watch_llama(other, shown)
    shuffled = watch_llama(
        other, shown.flatten()[torch.randperm(shown.numel(), generator=draw)].view_as(shown)
    )
    match = (state, theirs, shape, other_shape)
    plans = {
        "stream rotated, the rest by transport": plan_widths(ours, seen, *match),
        "all by transport": plan_widths(ours, seen, *match, "transport"),
        "matched on shuffled text": plan_widths(ours, shuffled, *match),
        "cropped or padded": crop_plan(plan_widths(ours, seen, *match)),
    }
    out = {"receiver": measure_loss(module, state, held), "donor": measure_loss(other, theirs, held)}
    out[f"receiver's size from scratch, {MORE_STEPS} steps"] = trained_on(module, config, None, held)
    for name, plan in plans.items():
        carried = carry_llama(theirs, plan, shape)
        middle = {n: (w + carried[n]) / 2 for n, w in state.items()}
        out[name] = measure_loss(module, carried, held)
        out[f"{name}: mean with the receiver"] = measure_loss(module, middle, held)
        out[f"{name}: {MORE_STEPS} steps more"] = trained_on(module, config, carried, held)
    return out


def crop_plan(plan: WidthPlan) -> WidthPlan:
    """The first units of everything, zeros where there are none."""

    def first(of: torch.Tensor) -> torch.Tensor:
        return torch.eye(*of.shape)

    layers = tuple(
        LayerPlan(
            first(layer.groups) / len(layer.groups),
            torch.arange(layer.heads.shape[2]).expand(layer.heads.shape),
            torch.eye(layer.values.shape[2]).expand(layer.values.shape),
            torch.zeros_like(layer.turns),
            first(layer.neurons) / len(layer.neurons),
        )
        for layer in plan.layers
    )
    return WidthPlan(first(plan.gather), first(plan.spread), layers)


def trained_on(module, config, state, held: torch.Tensor) -> float:
    """Loss after some more steps from these weights, or from none."""
    start = None if state is None else torch.cat([w.flatten() for w in state.values()])[None]
    flat = train_stories(module, config, 1, MORE_STEPS, start)[0]
    return measure_loss(module, read_state(module, flat), held)


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
        story_widths(seeds)
        quality(data, seeds)
        strict(data, seeds)
        forensics(data, seeds)
        speed(data)


if __name__ == "__main__":
    main()
