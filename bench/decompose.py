"""Milliseconds of CPU per decomposition step beside the plain way of computing it (and the reference, if you have it).

The plain way is the reference's: gates as einsums, every row, embeddings not folded, no compiler. To measure a checkout
of the reference in the same run, set DIGSITE_REFERENCE_STEP to a Python file with `milliseconds(study, steps, batch)`.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

from digsite.decompose.fit import Fit, Problem
from digsite.decompose.gates import mlp
from digsite.decompose.targets import sampler, untrained
from digsite.studies import find_study
from digsite.studies.plan import plan

torch.set_num_threads(1)
QUICK = ("tms_5-2", "tms_40-10", "resid_mlp1")
FULL = (*QUICK, "tms_5-2-id", "tms_40-10-id", "resid_mlp2", "resid_mlp3")
PLAIN = {"fold": False, "merge_zero_rows": False, "compile": "never"}


def einsum_gate(settings, params, acts):
    """As the reference computes it."""
    x = torch.nn.functional.gelu(torch.einsum("...c,ch->...ch", acts, params["w0"][:, 0]) + params["b0"])
    return torch.einsum("...ch,ch->...c", x, params["out"]) + params["bias"]


def make(study: str, members: int, **changes) -> Fit:
    config = plan(find_study(study)).config
    settings = config.decompose.model_copy(update={"compile": "always", **changes})
    models = [untrained(config.target, seed) for seed in range(members)]
    problem = Problem(models, config.modules, sampler(config.target, settings.batch))
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
    found = plan(find_study(study)).config.decompose.gate
    return found.model_copy(update={"nodes": nodes})


def plain(study: str) -> float:
    kept, mlp._exact = mlp._exact, einsum_gate
    try:
        return milliseconds(make(study, 1, gate=gate(study, 0), **PLAIN))
    finally:
        mlp._exact = kept


def reference(study: str) -> float | None:
    path = os.environ.get("DIGSITE_REFERENCE_STEP")
    if not path:
        return None
    spec = importlib.util.spec_from_file_location("reference_step", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.milliseconds(study, 5, None)


def matmul_gflops() -> float:
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    a @ b
    start = time.process_time()
    for _ in range(10):
        a @ b
    return 10 * 2 * 1024**3 / (time.process_time() - start) / 1e9


def gate_gflops(study: str, ms: float) -> float:
    """Arithmetic of the gates alone, 30 operations per entry of batch x C x hidden for value and gradient of a GELU."""
    fit = make(study, 1, gate=gate(study, 0), compile="never")
    rows = fit.draws.batch(0)[0].shape[1]
    entries = sum(rows * shape.n * sum(fit.config.gate.hidden) for shape in fit.shapes.values())
    return 30 * entries / (ms * 1e-3) / 1e9


def row(study: str) -> str:
    exact = milliseconds(make(study, 1, gate=gate(study, 0)))
    numbers = {
        "reference": reference(study),
        "plain": plain(study),
        "eager": milliseconds(make(study, 1, gate=gate(study, 0), compile="never")),
        "exact": exact,
        "tabulated": milliseconds(make(study, 1, gate=gate(study, 256))),
        "8 at once": milliseconds(make(study, 8, gate=gate(study, 0))) if study == QUICK[0] else None,
    }
    base = numbers["reference"] or numbers["plain"]
    cells = [f"{v:9.2f} {base / v:5.1f}x" if v else " " * 16 for v in numbers.values()]
    return f"{study:<13}" + " ".join(cells) + f" {gate_gflops(study, exact):8.1f}"


def quality(study: str) -> None:
    """The shipped study in full, checked against what it should reach; a stopped one goes on with `digsite resume`."""
    words = [sys.executable, "-m", "digsite", "run", study, "--check", "--quiet"]
    start = time.time()
    code = subprocess.run(words, cwd=Path.cwd()).returncode
    print(f"{study}: exit code {code} after {(time.time() - start) / 60:.0f} min\n", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="all studies, and their quality tables")
    full = parser.parse_args().full
    print(
        "CPU milliseconds per step and member, and how many times faster than the first column that is filled\n"
    )
    names = ("reference", "plain", "eager", "exact", "tabulated", "8 at once")
    print(f"{'':<13}" + " ".join(f"{name:>16}" for name in names) + "  GFLOP/s of the gates")
    for study in FULL if full else QUICK:
        print(row(study), flush=True)
    print(f"\nA plain matrix product reaches {matmul_gflops():.1f} GFLOP/s here on one thread.")
    for study in FULL if full else ():
        quality(study)
    return 0


if __name__ == "__main__":
    sys.exit(main())
