"""mask-report: methods, layers, components and models in one table, every statistic beside its null, one FDR over all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from digsite.base.intervals import seed_interval
from digsite.prune.config import ReportConfig
from digsite.prune.core import groups, layers
from digsite.prune.core.clusters import cluster_distances
from digsite.prune.core.matrix import method_named
from digsite.prune.core.neighborhood import around
from digsite.prune.core.packed import features_of, pack
from digsite.prune.experiments import masks
from digsite.prune.experiments.tables import test_table
from digsite.prune.figures import masks as figures
from digsite.prune.judge.densities import densities
from digsite.prune.judge.heads import HeadCounts, group_test, head_counts, structure_of
from digsite.prune.judge.nulls import Observed
from digsite.prune.judge.sharpen import sharpened
from digsite.prune.judge.significance import Test, null_test
from digsite.prune.judge.verdict import (
    LEVEL,
    WORDS,
    Judged,
    claim_resolution,
    claim_share,
    claim_tests,
    judge_all,
    name_test,
)
from digsite.prune.subjects.language import Language
from digsite.prune.subjects.maskstore import GivenMask, given_masks
from digsite.prune.subjects.source import MaskedMap
from digsite.record.verdict import cite

if TYPE_CHECKING:
    from digsite.worker.run import Run


GIVEN = "given"
Trial = Callable[[int], list[Test]]  # so many draws of one null, and every statistic of one mask against them


@dataclass(frozen=True)
class Place:
    """Where a test was made: the mask's row in the table, the trial of that mask, the statistic of the trial."""

    row: int
    trial: int
    statistic: int


def report(config: ReportConfig, run: "Run") -> None:
    rows, tests, places = [], [], []
    for model, settings in _models(config):
        for method in [GIVEN] if config.masks else map(method_named, config.methods):
            part = run.once(
                f"part-{model}-{method}", lambda m=model, s=settings, w=method: _part(s, run, m, w)
            )
            for row, trials in zip(part["rows"], part["trials"], strict=True):
                places += [
                    Place(len(rows), t, s) for t, found in enumerate(trials) for s, _ in enumerate(found)
                ]
                tests += [Test(**test) for found in trials for test in found]
                rows.append(row)
    judged = judge_all(
        sharpened(
            tests,
            lambda wanted, n: _again(config, run, rows, [places[i] for i in wanted], n),
            config.nulls.most_draws,
        )
    )
    frame = pd.DataFrame(rows).drop(columns="place")
    run.table("masks", frame)
    run.table(
        "tests", test_table(judged).assign(mask=[row["mask"] for row in rows for _ in range(row["n_tests"])])
    )
    run.view("masks", kind="table", source="tables/masks.csv")
    run.view("tests", kind="table", source="tables/tests.csv")
    _claims(config, run, rows, judged)


def _models(config: ReportConfig) -> list[tuple[str, ReportConfig]]:
    if config.masks:
        return [(Path(config.masks).name, config)]
    return [(name, config.model_copy(update={"model": name})) for name in (config.model, *config.references)]


def _part(config: ReportConfig, run: "Run", model: str, method: str) -> dict:
    """All wanted masks of one method on one model."""
    found, heads = _masks(config, run, method)
    rows, made = [], []
    for place, one in enumerate(found):
        run.stage(f"{model} {method} {one.name}", len(found))
        made.append(
            [[vars(test) for test in trial(config.nulls.draws)] for trial in _trials(config, run, one, heads)]
        )
        rows.append(_row(config, model, method, one) | {"place": place, "n_tests": sum(map(len, made[-1]))})
        run.let_signals_in(place + 1)
    return {"rows": rows, "trials": made}


def _masks(
    config: ReportConfig, run: "Run", method: str
) -> tuple[Sequence[MaskedMap | GivenMask], HeadCounts | None]:
    """The masks that this method makes of the config's model, with its heads; or masks of one's own, of no model."""
    if config.masks:
        return given_masks(Path(config.masks).expanduser()), None
    subject = masks.language(config, run)
    return masks.masked(config, run, _wanted(config, subject), method=method), head_counts(subject.model)


def _again(config: ReportConfig, run: "Run", rows: list[dict], places: list[Place], draws: int) -> list[Test]:
    """These tests with more draws; tests of one trial share them."""
    settings = dict(_models(config))
    made: dict[tuple[int, int], list[Test]] = {}
    run.stage(f"{len(places)} tests with {draws} draws", len(places))
    for n, place in enumerate(places):
        key, row = (place.row, place.trial), rows[place.row]
        if key not in made:
            own = settings[row["model"]]
            found = run.once(
                f"trial-{place.row}-{place.trial}-{draws}",
                lambda c=own, r=row, t=place.trial: [vars(test) for test in _trial(c, run, r, t)(draws)],
            )
            made[key] = [Test(**test) for test in found]
        run.let_signals_in(n + 1)
    return [made[place.row, place.trial][place.statistic] for place in places]


def _trial(config: ReportConfig, run: "Run", row: dict, index: int) -> Trial:
    found, heads = _masks(config, run, row["method"])
    return _trials(config, run, found[row["place"]], heads)[index]


def _wanted(config: ReportConfig, subject: Language) -> list[tuple[int, str]]:
    found = layers.blocks(subject.model)
    return [
        (layer, component)
        for layer in config.layers or range(len(found))
        for component in config.components or [layers.component(one.name) for one in found[layer].maps]
    ]


def _trials(
    config: ReportConfig, run: "Run", one: MaskedMap | GivenMask, heads: HeadCounts | None
) -> list[Trial]:
    keep, trades = one.keep.numpy(), config.nulls.trades
    made_here = isinstance(one, MaskedMap)
    source = masks.observed(one, trades) if made_here else Observed(pack(keep), trades=trades)
    seed = run.derive(f"tests-{one.name}")
    nulls = ["margins"] + (["reprune"] if config.nulls.reprune and made_here else [])
    return [
        partial(_against, keep, null, axis, seed, source) for null in nulls for axis in ("rows", "columns")
    ] + [
        partial(_by_head, keep, n, axis, seed, parts)
        for n, axis, parts in (structure_of(one.name, heads) if heads is not None else ())
    ]


def _against(keep: np.ndarray, null: str, axis: str, seed: int, source: Observed, draws: int) -> list[Test]:
    return null_test(keep, null, axis, draws=draws, seed=seed, observed=source)


def _by_head(keep: np.ndarray, n: int, axis: str, seed: int, parts: int, draws: int) -> list[Test]:
    return [group_test(keep, n, axis, draws=draws, seed=seed, n_parts=parts)]


def _row(config: ReportConfig, model: str, method: str, one: MaskedMap | GivenMask) -> dict:
    keep = one.keep.numpy()
    seen, columns = densities(keep), features_of(keep, "columns")
    size = min(config.n_features, columns.n_features)
    rng = np.random.default_rng(config.seed)
    balls = [
        around(columns, int(c), size) for c in rng.integers(columns.n_features, size=config.n_executions)
    ]
    found = [cluster_distances(ball.distances, min(config.n_clusters, size // 2)).metrics for ball in balls]
    return {
        "mask": f"{model} {method} {one.name}",
        "model": model,
        "method": method,
        "layer": layers.layer_number(one.name),
        "component": layers.component(one.name),
        "shape": "x".join(map(str, keep.shape)),
        "relative error": one.relative_error,
        "density": seen.density,
        "row densities 5-95 %": "{:.2f}-{:.2f}".format(*seen.rows),
        "column densities 5-95 %": "{:.2f}-{:.2f}".format(*seen.columns),
        "margins' share of variance": seen.margins,
        "hamming nearest": float(np.mean([ball.to_center[1] for ball in balls])),
        "hamming farthest": float(np.mean([ball.to_center[-1] for ball in balls])),
        "separation": float(np.mean([m.separation for m in found])),
        "silhouette": float(np.mean([m.silhouette for m in found])),
        "singletons": float(np.mean([m.n_singletons for m in found])),
        "block coherence": groups.coherence(keep.T),
        "block coherence, density order": groups.report(keep.T, "density").coherence,
        "p^8": groups.expected_coherence(keep),
    }


def _claims(config: ReportConfig, run: "Run", rows: list[dict], judged: list[Judged]) -> None:
    place, z, structured, ids = 0, {"mask": [], "z": [], "found": []}, [], []
    for row in rows:
        own = judged[place : place + row["n_tests"]]
        place += row["n_tests"]
        where = f"{row['model']}/{row['method']}/{row['layer']}.{row['component']}"
        label = f"{row['method']} {row['layer']}.{row['component']}" + (
            f" ({row['model']})" if config.references else ""
        )
        margins = [one for one in own if one.test.null == "margins"]
        top = next(one for one in margins if one.test.statistic == "top_singular")
        _claim_mask(run, own, top, where, label)
        ids += [name_test(one, f"{where}/") for one in own]
        for key, value in (("mask", label), ("z", top.test.z), ("found", top.found)):
            z[key].append(value)
        if found := [one for one in margins if one.found]:
            structured.append((label, where, max(found, key=lambda one: abs(one.test.z))))
    picture = figures.z_chart(z["mask"], z["z"], z["found"], "largest singular value")
    caption = "Orange: structure that row and column densities do not make (q <= 0.05 over all tests)."
    run.figure("structure", picture, z, caption=caption)
    claim_share(run, "tests/found", judged, "Tests that find structure beyond the densities")
    title, null_is = "Masks with structure that their densities do not make", "false discoveries let through"
    run.claim_share("masks/structured", len(structured), len(rows), null=LEVEL, null_is=null_is, title=title)
    over = seed_interval([row["margins' share of variance"] for row in rows], "mean", least=0.0, most=1.0)
    title = "Variance of a mask that row and column densities explain"
    run.claim("density/margins_share", interval=over, kind="share", note="interval over masks", title=title)
    run.headline(["masks/structured", "tests/found", "density/margins_share"], hero="structure")
    run.verdict(_verdict(run, structured, judged, ids))


def _claim_mask(run: "Run", own: list[Judged], top: Judged, where: str, label: str) -> None:
    """All tests of one mask, and the statistic that was chosen before looking."""
    beside = {"null": top.test.null_mean, "null_is": "masks with the same densities", "p": top.q}
    title = f"Largest singular value, {label}"
    run.claim(f"{where}/top_singular", top.test.observed, better="higher", title=title, **beside)
    claim_tests(run, own, f"{where}/", asked="", name=label)


def _verdict(
    run: "Run", structured: list[tuple[str, str, Judged]], judged: list[Judged], ids: list[str]
) -> str:
    """Only masks with a test that was found are named, each with that test."""
    base = f"Densities explain {cite('density/margins_share')} of a mask's variance on average."
    tests = f"{cite('tests/found', 'n')} tests, a false discovery rate of {cite('tests/found', 'null')}"
    if not structured:
        weak = claim_resolution(run, judged, ids)
        what = "No structure beyond densities was found" if weak else "No structure beyond densities"
        return f"{what} in any of {cite('masks/structured', 'n')} masks ({tests}).{weak} {base}"
    named = "; ".join(
        f"'{label}' by the {WORDS.get(one.test.statistic, one.test.statistic).lower()} of {one.test.axis}, "
        f"z = {cite(name_test(one, f'{where}/'), style='.1f')}"
        for label, where, one in structured[:3]
    )
    more = " and others" if len(structured) > 3 else ""
    return (
        f"Structure beyond densities in {cite('masks/structured', 'hits')} of {cite('masks/structured', 'n')} masks "
        f"({tests}): {named}{more}. {base}"
    )
