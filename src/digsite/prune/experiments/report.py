"""mask-report: methods, layers, components and models in one table, every statistic beside its null, one FDR over all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from digsite.base.families import list_members
from digsite.base.intervals import seed_interval
from digsite.prune.config import ReportConfig
from digsite.prune.core import hamming, layers
from digsite.prune.core.clusters import cluster_distances, find_neighborhood
from digsite.prune.core.matrix import method_named
from digsite.prune.core.packed import orient_features, pack
from digsite.prune.core.scores import FAMILY
from digsite.prune.experiments import masks
from digsite.prune.experiments.masks import test_table
from digsite.prune.figures import masks as figures
from digsite.prune.judge.attribution import measure_densities
from digsite.prune.judge.groups import GroupDifference, average_groups, compare_groups, tell_groups
from digsite.prune.judge.heads import HeadCounts, group_test, head_counts, structure_of
from digsite.prune.judge.nulls import ObservedMask
from digsite.prune.judge.verdict import (
    LEVEL,
    WORDS,
    JudgedTest,
    NullTest,
    claim_resolution,
    claim_share,
    claim_tests,
    judge_all,
    name_test,
    null_test,
    sharpen_tests,
)
from digsite.prune.subjects.language import Language, MaskedMap
from digsite.prune.subjects.maskstore import GivenMask, given_masks
from digsite.record.verdict import cite

if TYPE_CHECKING:
    from digsite.worker.run import Run


GIVEN = "given"
Trial = Callable[
    [int], list[NullTest]
]  # so many draws of one null, and every statistic of one mask against them


@dataclass(frozen=True)
class TestPlace:
    """Where a test was made: the mask's row in the table, the trial of that mask, the statistic of the trial."""

    row: int
    trial: int
    statistic: int


def study_report(config: ReportConfig, run: "Run") -> None:
    """One line for each mask and one test for each statistic, with one FDR over everything that was tested."""
    rows, tests, places = [], [], []
    for model, settings in _list_models(config):
        for method in [GIVEN] if config.masks else map(method_named, config.methods):
            part = run.once(
                f"part-{model}-{method}", lambda m=model, s=settings, w=method: _report_method(s, run, m, w)
            )
            for row, trials in zip(part["rows"], part["trials"], strict=True):
                places += [
                    TestPlace(len(rows), t, s)
                    for t, outcome in enumerate(trials)
                    for s, _ in enumerate(outcome)
                ]
                tests += [NullTest(**test) for outcome in trials for test in outcome]
                rows.append(row)
    judged = judge_all(
        sharpen_tests(
            tests,
            lambda wanted, n: _repeat_tests(config, run, rows, [places[i] for i in wanted], n),
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
    _show_groups(run, rows)
    _claim_report(config, run, rows, judged)


def _show_groups(run: "Run", rows: list[dict]) -> None:
    """Means by method and by projection, and what they tell; measurements, since the study's question is another."""
    means, seed = average_groups(rows), run.derive("groups")
    differences = run.once("groups", lambda: [vars(difference) for difference in compare_groups(rows, seed)])
    sentences = tell_groups([GroupDifference(**difference) for difference in differences], LEVEL)
    run.table("means", pd.DataFrame([vars(difference) for difference in means]))
    run.table("insights", {"insight": sentences})
    for name in ("means", "insights"):
        run.view(name, kind="table", source=f"tables/{name}.csv")
    for line in sentences:
        run.say(line)
    caption = "Means over masks with their 95 % intervals; each gray point is a mask."
    run.figure(
        "means", figures.group_means(means, rows), [vars(difference) for difference in means], caption=caption
    )


def _list_models(config: ReportConfig) -> list[tuple[str, ReportConfig]]:
    """A mask file, or the model and its references."""
    if config.masks:
        return [(Path(config.masks).name, config)]
    return [(name, config.model_copy(update={"model": name})) for name in (config.model, *config.references)]


def _report_method(config: ReportConfig, run: "Run", model: str, method: str) -> dict:
    """All wanted masks of one method on one model."""
    masked_maps, heads = _find_masks(config, run, method)
    rows, made = [], []
    for position, masked_map in enumerate(masked_maps):
        run.stage(f"{model} {method} {masked_map.name}", len(masked_maps))
        made.append(
            [
                [vars(test) for test in trial(config.nulls.draws)]
                for trial in _list_trials(config, run, masked_map, heads)
            ]
        )
        rows.append(
            _report_row(config, model, method, masked_map)
            | {"place": position, "n_tests": sum(map(len, made[-1]))}
        )
        run.let_signals_in(position + 1)
    return {"rows": rows, "trials": made}


def _find_masks(
    config: ReportConfig, run: "Run", method: str
) -> tuple[Sequence[MaskedMap | GivenMask], HeadCounts | None]:
    """The masks that this method makes of the config's model, with its heads; or masks of one's own, of no model."""
    if config.masks:
        return given_masks(Path(config.masks).expanduser()), None
    subject = masks.fresh_language(config, run)
    return masks.make_masks(config, run, _list_wanted(config, subject), method=method), head_counts(
        subject.model
    )


def _repeat_tests(
    config: ReportConfig, run: "Run", rows: list[dict], places: list[TestPlace], draws: int
) -> list[NullTest]:
    """These tests with more draws; tests of one trial share them."""
    settings = dict(_list_models(config))
    made: dict[tuple[int, int], list[NullTest]] = {}
    run.stage(f"{len(places)} tests with {draws} draws", len(places))
    for n, entry in enumerate(places):
        key, row = (entry.row, entry.trial), rows[entry.row]
        if key not in made:
            own = settings[row["model"]]
            outcome = run.once(
                f"trial-{entry.row}-{entry.trial}-{draws}",
                lambda c=own, r=row, t=entry.trial: [vars(test) for test in _find_trial(c, run, r, t)(draws)],
            )
            made[key] = [NullTest(**test) for test in outcome]
        run.let_signals_in(n + 1)
    return [made[entry.row, entry.trial][entry.statistic] for entry in places]


def _find_trial(config: ReportConfig, run: "Run", row: dict, index: int) -> Trial:
    """The test of one line again, with more draws."""
    masked_maps, heads = _find_masks(config, run, row["method"])
    return _list_trials(config, run, masked_maps[row["place"]], heads)[index]


def _list_wanted(config: ReportConfig, subject: Language) -> list[tuple[int, str]]:
    """(layer, component) of the maps, all where none is named."""
    blocks = layers.list_blocks(subject.model)
    return [
        (layer, component)
        for layer in config.layers or range(len(blocks))
        for component in config.components
        or [layers.component_of(linear.name) for linear in blocks[layer].maps]
    ]


def _list_trials(
    config: ReportConfig, run: "Run", masked_map: MaskedMap | GivenMask, heads: HeadCounts | None
) -> list[Trial]:
    """Tests that can be repeated with more draws; a bare mask cannot be pruned again."""
    keep, trades = masked_map.keep.numpy(), config.nulls.trades
    made_here = isinstance(masked_map, MaskedMap)
    source = masks.as_observed(masked_map, trades) if made_here else ObservedMask(pack(keep), trades=trades)
    seed = run.derive(f"tests-{masked_map.name}")
    nulls = ["margins"] + (["reprune"] if config.nulls.reprune and made_here else [])
    return [
        partial(_test_against, keep, null, axis, seed, source)
        for null in nulls
        for axis in ("rows", "columns")
    ] + [
        partial(_by_head, keep, n, axis, seed, parts)
        for n, axis, parts in (structure_of(masked_map.name, heads) if heads is not None else ())
    ]


def _test_against(
    keep: np.ndarray, null: str, axis: str, seed: int, source: ObservedMask, draws: int
) -> list[NullTest]:
    """All statistics against one null: they share its draws."""
    return null_test(keep, null, axis, draws=draws, seed=seed, observed=source)


def _by_head(keep: np.ndarray, n: int, axis: str, seed: int, parts: int, draws: int) -> list[NullTest]:
    """Whether rows of one head are more alike than rows of two."""
    return [group_test(keep, n, axis, draws=draws, seed=seed, n_parts=parts)]


def _report_row(config: ReportConfig, model: str, method: str, masked_map: MaskedMap | GivenMask) -> dict:
    """Densities and neighborhoods of one mask."""
    keep = masked_map.keep.numpy()
    seen, columns = measure_densities(keep), orient_features(keep, "columns")
    size = min(config.n_features, columns.n_features)
    rng = np.random.default_rng(config.seed)
    balls = [
        find_neighborhood(columns, int(c), size)
        for c in rng.integers(columns.n_features, size=config.n_executions)
    ]
    metrics = [cluster_distances(ball.distances, min(config.n_clusters, size // 2)).metrics for ball in balls]
    if isinstance(masked_map, GivenMask):
        method, layer, component = (
            masked_map.made_by(list_members(FAMILY)) or GIVEN,
            masked_map.layer,
            masked_map.component,
        )
    else:
        layer, component = layers.layer_number(masked_map.name), layers.component_of(masked_map.name)
    return {
        "mask": f"{model} {masked_map.name}"
        if isinstance(masked_map, GivenMask)
        else f"{model} {method} {masked_map.name}",
        "model": model,
        "method": method,
        "layer": layer,
        "component": component,
        "shape": "x".join(map(str, keep.shape)),
        "relative error": masked_map.relative_error,
        "density": seen.density,
        "row densities 5-95 %": "{:.2f}-{:.2f}".format(*seen.rows),
        "column densities 5-95 %": "{:.2f}-{:.2f}".format(*seen.columns),
        "margins' share of variance": seen.margins,
        "hamming nearest": float(np.mean([ball.to_center[1] for ball in balls])),
        "hamming farthest": float(np.mean([ball.to_center[-1] for ball in balls])),
        "separation": float(np.mean([m.separation for m in metrics])),
        "silhouette": float(np.mean([m.silhouette for m in metrics])),
        "singletons": float(np.mean([m.n_singletons for m in metrics])),
        "block coherence": hamming.measure_coherence(keep.T),
        "block coherence, density order": hamming.report_groups(keep.T, "density").coherence,
        "p^8": hamming.expected_coherence(keep),
    }


def _claim_report(config: ReportConfig, run: "Run", rows: list[dict], judged: list[JudgedTest]) -> None:
    """Every mask's strongest statistic, and how many masks show any."""
    start, z, structured, ids = 0, {"mask": [], "z": [], "found": []}, [], []
    for row in rows:
        own = judged[start : start + row["n_tests"]]
        start += row["n_tests"]
        where = f"{row['model']}/{row['method']}/{row['layer']}.{row['component']}"
        label = f"{row['method']} {row['layer']}.{row['component']}" + (
            f" ({row['model']})" if config.references else ""
        )
        margins = [judged_test for judged_test in own if judged_test.against_densities]
        top = next(judged_test for judged_test in margins if judged_test.test.statistic == "top_singular")
        _claim_mask(run, own, top, where, label)
        ids += [name_test(judged_test, f"{where}/") for judged_test in own]
        for key, value in (("mask", label), ("z", top.test.z), ("found", top.found)):
            z[key].append(value)
        if hits := [judged_test for judged_test in margins if judged_test.found]:
            structured.append((label, where, max(hits, key=lambda judged_test: abs(judged_test.test.z))))
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
    run.verdict(_say_masks(run, structured, judged, ids))


def _claim_mask(run: "Run", own: list[JudgedTest], top: JudgedTest, where: str, label: str) -> None:
    """All tests of one mask, and the statistic that was chosen before looking."""
    beside = {"null": top.test.null_mean, "null_is": "masks with the same densities", "p": top.q}
    title = f"Largest singular value, {label}"
    run.claim(f"{where}/top_singular", top.test.observed, better="higher", title=title, **beside)
    claim_tests(run, own, f"{where}/", asked="", name=label)


def _say_masks(
    run: "Run", structured: list[tuple[str, str, JudgedTest]], judged: list[JudgedTest], ids: list[str]
) -> str:
    """Only masks with a test that was found are named, each with that test."""
    base = f"Densities explain {cite('density/margins_share')} of a mask's variance on average."
    tests = f"{cite('tests/found', 'n')} tests, a false discovery rate of {cite('tests/found', 'null')}"
    if not structured:
        weak = claim_resolution(run, judged, ids)
        what = "No structure beyond densities was found" if weak else "No structure beyond densities"
        return f"{what} in any of {cite('masks/structured', 'n')} masks ({tests}).{weak} {base}"
    named = "; ".join(
        f"'{label}' by the {WORDS.get(judged_test.test.statistic, judged_test.test.statistic).lower()} of {judged_test.test.axis}, "
        f"z = {cite(name_test(judged_test, f'{where}/'), style='.1f')}"
        for label, where, judged_test in structured[:3]
    )
    more = " and others" if len(structured) > 3 else ""
    return (
        f"Structure beyond densities in {cite('masks/structured', 'hits')} of {cite('masks/structured', 'n')} masks "
        f"({tests}): {named}{more}. {base}"
    )
