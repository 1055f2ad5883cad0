"""Milliseconds of CPU per decomposition step beside the plain way of computing it (and the reference, if you have it).

The plain way is the reference's: gates as einsums, every row, embeddings not folded, no compiler. To measure a checkout
of the reference in the same run, set DIGSITE_REFERENCE_STEP to a Python file with `milliseconds(study, steps, batch)`.
With --full every study is run as shipped, too, and what it reached stands beside what is published; a second call goes
on where the first was stopped.
"""

import argparse
import importlib.util
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch.utils.flop_counter import FlopCounterMode

from _studies import children_cpu, shipped
from digsite.base.families import scan_family
from digsite.decompose.config import DecomposeConfig
from digsite.decompose.core.fit import Fit, Problem
from digsite.decompose.core.gates.networks import Mlp
from digsite.decompose.experiments import toys as run_toys
from digsite.decompose.judge import score
from digsite.decompose.subjects.targets import build_untrained, sample_features
from digsite.figures.style import save_figure
from digsite.models import build, parse
from digsite.record.results import read_bounds
from digsite.studies import find_study
from digsite.studies.plan import plan_run

torch.set_num_threads(1)
EMBEDDING = "ss_emb"  # at the reference's sizes, not at those of our study
QUICK = ("tms_5-2", "tms_40-10", "resid_mlp1", EMBEDDING)
EIGHT = QUICK[:3]
FULL = (*QUICK, "tms_5-2-id", "tms_40-10-id", "resid_mlp2", "resid_mlp3")
STUDIES = (
    *("tms_5-2", "tms_5-2-id", "tms_40-10", "tms_40-10-id", "resid_mlp1"),
    *("ss_emb", "lm_attn", "lm_mlp", "ih", "modadd", "resid_mlp2", "resid_mlp3"),
)
PLAIN = {"fold": False, "merge_zero_rows": False, "compile": "never"}
STORY = {
    "kind": "llama",
    "vocab": 4096,
    "context": 512,
    "d_model": 128,
    "d_mlp": 341,
    "n_layers": 4,
    "n_kv_heads": 2,
}
ORIGINAL = {
    "C": 100,
    "delta": False,
    "gate": {"kind": "mlp", "hidden": [1]},
    "compare": "kl",
    "batch": 4,
    "lr": 1e-4,
    "faithfulness_warmup": {"steps": 0},
    "losses": {
        "faithfulness": {"kind": "faithfulness"},
        "importance_minimality": {"kind": "importance_minimality", "coeff": 1e-6, "p": 2},
        "stochastic_recon_layerwise": {"kind": "recon", "routing": "layerwise"},
    },
}


def compute_einsum(gate, params, acts):
    """As the reference computes it."""
    x = torch.nn.functional.gelu(torch.einsum("...c,ch->...ch", acts, params["w0"][:, 0]) + params["b0"])
    return torch.einsum("...ch,ch->...c", x, params["out"]) + params["bias"]


def make(study: str, members: int, **changes) -> Fit:
    changes = {"compile": "always", **changes}
    if study == EMBEDDING:
        settings = DecomposeConfig.model_validate(ORIGINAL).model_copy(update=changes)
        tokens = lambda generator: torch.randint(4096, (4, 512), generator=generator)  # noqa: E731
        return Fit(Problem([build(parse(STORY), 0).eval()], ["model.embed_tokens"], tokens), settings, [0])
    config = plan_run(find_study(study)).config
    published = {"batch": 4096 if study.startswith("tms") else 2048}
    if study.startswith("tms_5-2"):
        published["C"] = 20
    settings = config.decompose.model_copy(update={**published, **changes})
    models = [build_untrained(config.target, seed) for seed in range(members)]
    problem = Problem(models, config.modules, sample_features(config.target, settings.batch))
    return Fit(problem, settings, list(range(members)))


def milliseconds(fit: Fit, seconds: float = 2.0) -> float:
    """CPU time per step and member, after the first steps (which compile)."""
    for step in range(2):
        fit.step(step)
    start, step = time.process_time(), 0
    while time.process_time() - start < seconds or step < 3:
        fit.step(2 + step)
        step += 1
    return (time.process_time() - start) / step / len(fit.seeds) * 1e3


def gate(study: str, nodes: int):
    if study == EMBEDDING:
        return Mlp(hidden=[1], nodes=nodes)
    return plan_run(find_study(study)).config.decompose.gate.model_copy(update={"nodes": nodes})


def plain(study: str) -> float:
    kept, Mlp._compute_exactly = Mlp._compute_exactly, compute_einsum
    try:
        return milliseconds(make(study, 1, gate=gate(study, 0), **PLAIN))
    finally:
        Mlp._compute_exactly = kept


def reference(study: str) -> float | None:
    path = os.environ.get("DIGSITE_REFERENCE_STEP")
    if not path:
        return None
    spec = importlib.util.spec_from_file_location("reference_step", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.milliseconds(study, 5, None)


def product_gflops(rows: int, inner: int, columns: int) -> float:
    a, b = torch.randn(rows, inner), torch.randn(inner, columns)
    a @ b
    start, n = time.process_time(), 0
    while time.process_time() - start < 0.3:
        a @ b
        n += 1
    return n * 2 * rows * inner * columns / (time.process_time() - start) / 1e9


def arithmetic(study: str) -> tuple[float, float]:
    """Billions of operations of a step in matrix products, and in gates (30 for a GELU's value and slope)."""
    fit = make(study, 1, gate=gate(study, 0), compile="never", recompute="never")
    with FlopCounterMode(display=False) as counter:
        fit.compute_gradients(*fit.draws.draw_stack(0), 0, 0.0)
    rows = fit.draws.draw_stack(0)[0][0].shape[: 2 if study == EMBEDDING else 1].numel()
    entries = sum(rows * shape.n * sum(fit.config.gate.hidden) for shape in fit.shapes.values())
    return counter.get_total_flops() / 1e9, 30 * entries / 1e9


def row(study: str) -> str:
    exact = milliseconds(make(study, 1, gate=gate(study, 0)))
    numbers = {
        "reference": reference(study),
        "plain": plain(study),
        "eager": milliseconds(make(study, 1, gate=gate(study, 0), compile="never")),
        "exact": exact,
        "tabulated": None if study == EMBEDDING else milliseconds(make(study, 1, gate=gate(study, 256))),
        "8 at once": milliseconds(make(study, 8, gate=gate(study, 0))) if study in EIGHT else None,
    }
    base = numbers["reference"] or numbers["plain"]
    cells = [f"{v:9.2f} {base / v:5.1f}x" if v else " " * 16 for v in numbers.values()]
    products, gates = arithmetic(study)
    return f"{study:<13}" + " ".join(cells) + f" {(products + gates) / exact * 1e3:8.1f}"


def own_cost(study: str) -> str:
    """What checks, scores, metrics and figures take of a whole run as shipped."""
    config = plan_run(find_study(study)).config
    fit = make(study, 1, batch=config.decompose.batch)
    per_step = milliseconds(fit, 1.0) / 1e3
    found, n = fit.make_decomposition(0), config.target.model.n_features
    batch = fit.problem.sample(torch.Generator())
    check = seconds(lambda: score.count_pattern_errors(score.probe_importance(found, n), config.truth, 0.2))
    scores = seconds(lambda: score.score_toy(found, config.truth, batch, n))
    course = [{"step": step, "error_mean": 1.0, "error_max": 1.0} for step in range(5)]
    view = run_toys.View(found, lambda i: batch, run_toys.EVAL_BATCHES, n, config.truth, course=course)
    with TemporaryDirectory() as folder:
        shown = seconds(lambda: show(view, config, Path(folder)))
    members = config.seeds + config.untrained
    checks = config.decompose.steps // config.check_every * config.seeds * check
    own, steps = checks + members * scores + shown, members * config.decompose.steps * per_step
    return f"{study:<13} {own:6.1f} s of {own + steps:7.0f} s: {own / (own + steps):.1%}   (must <= 5 %)"


def show(view, config, folder: Path) -> None:
    metrics, figures = (scan_family(f"digsite.decompose.{family}") for family in ("judge.metrics", "figures"))
    for name, settings in config.metrics.items():
        metrics[name](**settings).measure(view)
    for name in config.figures:
        save_figure(figures[name].draw_figure(view), folder / name)


def seconds(work) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def quality(study: str) -> None:
    """What the shipped study reached beside what it should reach."""
    began = children_cpu()
    results = shipped(study)
    if results is None:
        return
    print(f"{study}: {results.verdict}")
    for name, rule in find_study(study).expected.get("claims", {}).items():
        claim, (low, high) = results[name], read_bounds(rule)
        interval = "" if claim.low is None else f"{claim.low:.4g} to {claim.high:.4g}"
        verdict = "yes" if low <= claim.value <= high else "NO"
        print(f"  {name:<34}{claim.value:>9.4g}  {interval:<18}{verdict:<4}{rule['source']}")
    members = results[next(iter(find_study(study).expected["claims"]))].n or 1
    print(f"  {children_cpu() - began:.0f} CPU seconds in this call, {members} members\n", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="all studies, and their quality tables")
    full = parser.parse_args().full
    print(
        "CPU milliseconds per step and member, and how many times faster than the first column that is filled\n"
    )
    names = ("reference", "plain", "eager", "exact", "tabulated", "8 at once")
    print(f"{'':<13}" + " ".join(f"{name:>16}" for name in names) + "  GFLOP/s of 'exact'")
    for study in FULL if full else QUICK:
        print(row(study), flush=True)
    shapes = ((1024, 1024, 1024), (1456, 100, 100), (1056, 5, 20))
    reached = ", ".join(f"{product_gflops(*shape):.1f} at {'x'.join(map(str, shape))}" for shape in shapes)
    print(f"\nPlain matrix products reach, in GFLOP/s: {reached}.")
    print("\nChecks, scores, metrics and figures of a whole run, CPU seconds:\n")
    for study in ("tms_5-2", "tms_40-10", "resid_mlp1"):
        print(own_cost(study), flush=True)
    if full:
        print(
            "\nStudies as shipped: value, interval, whether it is as expected, and where the expectation is from\n"
        )
    for study in STUDIES if full else ():
        quality(study)
    return 0


if __name__ == "__main__":
    sys.exit(main())
