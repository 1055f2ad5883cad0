"""mask-report: methods, layers, components and models in one table, every statistic beside its null, one FDR over all."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from digsite.prune import figures, groups, layers
from digsite.prune.clusters import cluster_distances
from digsite.prune.config import ReportConfig
from digsite.prune.densities import densities
from digsite.prune.heads import HeadCounts, group_test, head_counts, structure_of
from digsite.prune.language import Language
from digsite.prune.matrix import method_named
from digsite.prune.neighborhood import around
from digsite.prune.packed import features_of
from digsite.prune.runs import masks
from digsite.prune.runs.tables import test_table
from digsite.prune.significance import Test, null_test
from digsite.prune.source import MaskedMap
from digsite.prune.verdict import Judged, judge_all, resolution

if TYPE_CHECKING:
    from digsite.worker.run import Run


def report(config: ReportConfig, run: "Run") -> None:
    rows, tests = [], []
    for model, settings in _models(config):
        for method in map(method_named, config.methods):
            part = run.once(
                f"part-{model}-{method}", lambda m=model, s=settings, w=method: _part(s, run, m, w)
            )
            rows += part["rows"]
            tests += [Test(**test) for test in part["tests"]]
    judged = judge_all(tests)
    frame = pd.DataFrame(rows)
    run.table("masks", frame)
    run.table(
        "tests", test_table(judged).assign(mask=[row["mask"] for row in rows for _ in range(row["n_tests"])])
    )
    run.view("masks", kind="table", source="tables/masks.csv")
    run.view("tests", kind="table", source="tables/tests.csv")
    _claims(config, run, rows, judged)


def _models(config: ReportConfig) -> list[tuple[str, ReportConfig]]:
    return [(name, config.model_copy(update={"model": name})) for name in (config.model, *config.references)]


def _part(config: ReportConfig, run: "Run", model: str, method: str) -> dict:
    """All wanted masks of one method on one model."""
    subject = masks.language(config, run)
    wanted = _wanted(config, subject)
    found = masks.masked(config, run, wanted, method=method)
    heads = head_counts(subject.model)
    rows, tests = [], []
    for place, one in enumerate(found):
        run.stage(f"{model} {method} {one.name}", len(found))
        own = _tests(config, run, one, heads)
        tests += [vars(test) for test in own]
        rows.append(_row(config, model, method, one) | {"n_tests": len(own)})
        run.breathe(place + 1)
    return {"rows": rows, "tests": tests}


def _wanted(config: ReportConfig, subject: Language) -> list[tuple[int, str]]:
    found = layers.blocks(subject.model)
    return [
        (layer, component)
        for layer in config.layers or range(len(found))
        for component in config.components or [layers.component(one.name) for one in found[layer].maps]
    ]


def _tests(config: ReportConfig, run: "Run", one: MaskedMap, heads: HeadCounts) -> list[Test]:
    keep, source = one.keep.numpy(), masks.observed(one, config.nulls.trades)
    seed, draws = run.derive(f"tests-{one.name}"), config.nulls.draws
    nulls = ["margins"] + (["reprune"] if config.nulls.reprune else [])
    tests = [
        test
        for null in nulls
        for axis in ("rows", "columns")
        for test in null_test(keep, null, axis, draws=draws, seed=seed, observed=source)
    ]
    return tests + [
        group_test(keep, n, axis, draws=draws, seed=seed, n_parts=parts)
        for n, axis, parts in structure_of(one.name, heads)
    ]


def _row(config: ReportConfig, model: str, method: str, one: MaskedMap) -> dict:
    keep = one.keep.numpy()
    seen, columns = densities(keep), features_of(keep, "columns")
    size = min(config.n_features, columns.n_features)
    rng = np.random.default_rng(config.seed)
    balls = [
        around(columns, int(c), size) for c in rng.integers(columns.n_features, size=config.n_executions)
    ]
    found = [cluster_distances(ball.distances, min(config.n_clusters, size // 2)).metrics for ball in balls]
    return {
        "mask": f"{model} {method} {one.name}", "model": model, "method": method,
        "layer": layers.layer_number(one.name), "component": layers.component(one.name), "shape": "x".join(map(str, keep.shape)),
        "relative error": one.relative_error, "density": seen.density,
        "row densities 5-95 %": "{:.2f}-{:.2f}".format(*seen.rows), "column densities 5-95 %": "{:.2f}-{:.2f}".format(*seen.columns),
        "margins' share of variance": seen.margins,
        "hamming nearest": float(np.mean([ball.to_center[1] for ball in balls])),
        "hamming farthest": float(np.mean([ball.to_center[-1] for ball in balls])),
        "separation": float(np.mean([m.separation for m in found])), "silhouette": float(np.mean([m.silhouette for m in found])),
        "singletons": float(np.mean([m.n_singletons for m in found])),
        "block coherence": groups.coherence(keep.T), "block coherence, density order": groups.report(keep.T, "density").coherence,
        "p^8": groups.expected_coherence(keep),
    }  # fmt: skip


def _claims(config: ReportConfig, run: "Run", rows: list[dict], judged: list[Judged]) -> None:
    place, z_labels, z_values, z_found, structured = 0, [], [], [], []
    for row in rows:
        own = judged[place : place + row["n_tests"]]
        place += row["n_tests"]
        margins = [one for one in own if one.test.null == "margins"]
        top = next(one for one in margins if one.test.statistic == "top_singular")
        label = f"{row['method']} {row['layer']}.{row['component']}" + (
            f" ({row['model']})" if config.references else ""
        )
        run.claim(f"{row['model']}/{row['method']}/{row['layer']}.{row['component']}/top_singular", top.test.observed,
                  null=top.test.null_mean, note=f"z = {top.test.z:.2f}, q = {top.q:.3g} against same margins")  # fmt: skip
        z_labels.append(label)
        z_values.append(top.test.z)
        z_found.append(top.found)
        if any(one.found for one in margins):
            structured.append(label)
    picture = figures.z_chart(z_labels, z_values, z_found, "largest singular value")
    run.figure("structure", picture, {"mask": z_labels, "z": z_values, "found": z_found},
               caption="Orange: structure that row and column densities do not make (q <= 0.05 over all tests).")  # fmt: skip
    run.verdict(_verdict(rows, structured, judged))


def _verdict(rows: list[dict], structured: list[str], judged: list[Judged]) -> str:
    n_tests = len(judged)
    share = np.mean([row["margins' share of variance"] for row in rows])
    base = f"Densities explain {share:.1%} of the masks' variance on average."
    if not structured:
        weak = resolution(judged)
        what = "No structure beyond densities was found" if weak else "No structure beyond densities"
        return f"{what} in any of {len(rows)} masks ({n_tests} tests, false discovery rate 5 %).{weak} {base}"
    shown = ", ".join(structured[:6]) + (" and others" if len(structured) > 6 else "")
    return f"Structure beyond densities in {len(structured)} of {len(rows)} masks: {shown} ({n_tests} tests, false discovery rate 5 %). {base}"
