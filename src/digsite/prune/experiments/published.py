"""masks-as-published: the original's metrics on real, structureless and published cases, beside the honest verdict."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from digsite.figures import scatter
from digsite.prune.config import PublishedConfig
from digsite.prune.core.clusters import find_neighborhood, measure_separations
from digsite.prune.core.inputs import InputStatistics
from digsite.prune.core.matrix import prune_matrix
from digsite.prune.core.packed import orient_features, pack
from digsite.prune.experiments import masks
from digsite.prune.judge import published
from digsite.prune.judge.nulls import ObservedMask
from digsite.prune.judge.nulls.random_masks import Margins
from digsite.prune.judge.verdict import judge_statistic, null_test
from digsite.record.verdict import cite

if TYPE_CHECKING:
    from digsite.worker.run import Run

TOLERANCE = 0.02

# The ratios of the original's report for LLaMA-7B layer 1, by matrix, for k = 4, 8 and 16.
PUBLISHED = {
    "v_proj SparseGPT": (4.01, 8.03, 15.90),
    "o_proj SparseGPT": (2.13, 2.79, 17.11),
    "gate_proj SparseGPT": (1.33, 1.14, 1.33),
    "v_proj Wanda": (4.08, 4.09, 8.22),
    "gate_proj Wanda": (1.00, 1.00, 1.00),
}


@dataclass(frozen=True)
class Case:
    """A pruned matrix and its mask; `structureless` by construction, or a trained model's."""

    name: str
    keep: np.ndarray
    weight: np.ndarray
    structureless: bool


def study_published(config: PublishedConfig, run: "Run") -> None:
    """The original's ratio on masks with structure, on masks without any, and as it was printed."""
    rows = []
    for case in _make_cases(config, run):
        run.stage(f"case {case.name}")
        rows += run.once(f"case-{case.name}", lambda case=case: _audit_case(config, run, case))
    rows += _printed_cases()
    frame = pd.DataFrame(rows)
    run.table("audit", frame)
    run.view("audit", kind="table", source="tables/audit.csv")
    _draw_artefact(run, frame)
    _claim_audit(run, frame)


def _make_cases(config: PublishedConfig, run: "Run") -> list[Case]:
    """Two trained masks, and masks of random weights and of coins, in which there is nothing to find."""
    cases = []
    for method in ("wanda", "sparsegpt"):
        (masked_map,) = masks.make_masks(config, run, [(config.layer, config.component)], method=method)
        recipe, before = masked_map.recipe, masked_map.weight
        after = prune_matrix(before, masked_map.inputs, recipe.method, pattern=recipe.pattern).weight
        cases.append(Case(f"trained {method}", masked_map.keep.numpy(), after.numpy(), False))
    rng = run.rng("structureless")
    weight = rng.standard_normal((config.outputs, config.inputs)).astype(np.float32)
    coins = rng.random(weight.shape) < 1 - config.sparsity
    cases.append(Case("coin flips", coins, weight * coins, True))
    for spread in (0.25, 0.8):
        norms = torch.from_numpy(rng.lognormal(0, spread, config.inputs).astype(np.float32))
        inputs = InputStatistics(norms**2, None, 1, 1)
        done = prune_matrix(torch.from_numpy(weight), inputs, "wanda", config.sparsity)
        cases.append(Case(f"wanda of noise, norms {spread}", done.keep.numpy(), done.weight.numpy(), True))
    return cases


def _audit_case(config: PublishedConfig, run: "Run", case: Case) -> list[dict]:
    """Per k: the published ratio with clusters from weights, its singletons, and the honest ratio and tests."""
    columns, size = orient_features(case.keep, "columns"), min(config.n_similar, case.keep.shape[1])
    centers = run.rng(f"centers-{case.name}").integers(columns.n_features, size=config.seeds).tolist()
    published_rows = [
        _measure_published(config, case, columns, center, seed, size) for seed, center in enumerate(centers)
    ]
    seen = np.nanmean(measure_separations(columns, centers, size, config.k_values, seed=config.seed), axis=0)
    drawn = [
        np.nanmean(
            measure_separations(
                orient_features(draw, "columns"), centers, size, config.k_values, seed=config.seed
            ),
            axis=0,
        )
        for draw in Margins().draw_masks(
            ObservedMask(pack(case.keep)), config.draws, run.derive(f"null-{case.name}")
        )
    ]
    (top,) = null_test(
        case.keep,
        "margins",
        statistics=["top_singular"],
        draws=config.draws,
        seed=run.derive(f"top-{case.name}"),
    )
    rows = []
    for i, k in enumerate(config.k_values):
        ratio, singles = np.mean([[r[i][0], r[i][1]] for r in published_rows], axis=0)
        test = judge_statistic(
            f"separation/k={k}", "margins", "columns", seen[i], [d[i] for d in drawn], "upper"
        )
        rows.append(
            {
                "case": case.name,
                "k": k,
                "structureless": case.structureless,
                "ratio as published": float(ratio),
                "singletons": float(singles),
                "k/(k-s)": float(np.mean([published.artefact_ratio(k, r[i][1]) for r in published_rows])),
                "honest ratio": float(seen[i]),
                "same-margins ratio": test.null_mean,
                "z": test.z,
                "p": test.p,
                "global z": top.z,
                "global p": top.p,
            }
        )
    return rows


def _measure_published(
    config: PublishedConfig, case: Case, columns, center: int, seed: int, size: int
) -> list[tuple[float, int]]:  # pyright: ignore[reportMissingParameterType]
    """(ratio, singletons) for each k."""
    ball = find_neighborhood(columns, center, size)
    bits, weights = columns.take(ball.members).unpack(), case.weight.T[ball.members]
    measured = []
    for k in config.k_values:
        metrics = published.measure_as_published(
            bits, published.cluster_weights(weights, min(k, size), seed), seed
        )
        measured.append((metrics.ratio, metrics.n_singletons))
    return measured


def _printed_cases() -> list[dict]:
    """The printed ratios, each beside the nearest k/(k-s) for a whole number of singletons."""
    rows = []
    for name, ratios in PUBLISHED.items():
        for k, ratio in zip((4, 8, 16), ratios, strict=True):
            s = min(range(k), key=lambda s: abs(published.artefact_ratio(k, s) - ratio))
            rows.append(
                {
                    "case": f"printed: {name}",
                    "k": k,
                    "structureless": False,
                    "ratio as published": ratio,
                    "singletons": float(s),
                    "k/(k-s)": published.artefact_ratio(k, s),
                }
            )
    return rows


def _draw_artefact(run: "Run", frame: pd.DataFrame) -> None:
    """The ratio follows k / (k - singletons): what is measured is how many clusters hold one feature."""
    groups = {}
    for name, part in frame.groupby(
        frame["case"].str.startswith("printed").map({True: "printed", False: "re-enacted"})
    ):
        groups[str(name)] = (part["k/(k-s)"], part["ratio as published"])
    picture = scatter(
        groups,
        x="k / (k - singletons)",
        y="ratio as published",
        diagonal=True,
        title="the published ratio counts singletons",
    )
    run.figure(
        "artefact",
        picture,
        frame[["case", "k", "k/(k-s)", "ratio as published"]],
        caption="On the line, the ratio is nothing but the number of clusters with a single member.",
    )


def _claim_audit(run: "Run", frame: pd.DataFrame) -> None:
    """What was re-enacted here, then what was printed."""
    enacted = pd.DataFrame(frame[~frame["case"].str.startswith("printed")])
    _claim_enacted(run, enacted)
    printed = pd.DataFrame(frame[frame["case"].str.startswith("printed")])
    off = np.abs(printed["ratio as published"].to_numpy() / printed["k/(k-s)"].to_numpy() - 1)
    run.claim_share(
        "printed/is_artefact",
        int(np.sum(off <= TOLERANCE)),
        len(printed),
        null=float(np.mean([published.chance_of_artefact(k, TOLERANCE) for k in printed["k"]])),
        null_is="ratios spread evenly",
        title="Printed ratios that are k/(k-s), the number of singletons alone",
        note=f"within {TOLERANCE:.0%} of it for a whole number of singletons",
    )
    free = enacted[enacted["structureless"]]
    worst = free.loc[free["ratio as published"].idxmax()]
    title = "Largest z of a structureless mask against the same densities"
    largest = float(free["z"].abs().max())  # pyright: ignore[reportArgumentType]
    run.claim("structureless/largest_z", largest, unit="sd", n=len(free), better="lower", title=title)
    reached = f"{worst['case']}/ratio_as_published/k={worst['k']}"
    artefact = "printed/is_artefact"
    run.headline([artefact, "structureless/largest_z"], hero="artefact")
    run.verdict(
        f"{cite(artefact, 'hits')} of {cite(artefact, 'n')} printed ratios are k/(k-s), the number of singletons and "
        f"nothing else (chance gives {cite(artefact, 'null', '.0%')}). A mask without any structure reaches "
        f"{cite(reached, style='.2f')} ('{worst['case']}', k={worst['k']}); against masks with the same densities it "
        f"stays within {cite('structureless/largest_z', style='.1f')} standard deviations."
    )


def _claim_enacted(run: "Run", enacted: pd.DataFrame) -> None:
    """The published ratio and the honest one of every re-enacted case."""
    for row in enacted.to_dict("records"):
        case, k = row["case"], row["k"]
        run.claim(
            f"{case}/ratio_as_published/k={k}",
            row["ratio as published"],
            null=row["k/(k-s)"],
            null_is="k/(k-s), the singletons alone",
            kind="ratio",
            title=f"Published ratio, {case}, k={k}",
            note=f"{row['singletons']:.1f} singletons",
        )
        run.claim(
            f"{case}/separation/k={k}",
            row["honest ratio"],
            null=row["same-margins ratio"],
            null_is="masks with the same densities",
            p=row["p"],
            kind="ratio",
            better="higher",
            title=f"Distance between over within clusters, {case}, k={k}",
            note=f"z = {row['z']:.2f}; global test z = {row['global z']:.1f}, p = {row['global p']:.3g}",
        )
