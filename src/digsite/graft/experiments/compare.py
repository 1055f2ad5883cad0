"""A comparison run: jobs over couples and seeds, then the ledger, tables, figures and claims."""

from typing import Any

import numpy as np
import pandas as pd
import torch

from digsite.graft.config import CompareConfig
from digsite.graft.core.metrics import paired_interval, percent_interval
from digsite.graft.experiments.jobs import list_couples, work_ahead
from digsite.graft.figures import ledger as figures
from digsite.graft.judge.compare import collect_geometry, compare_on_couple, validate_grids
from digsite.graft.judge.published import CLAIMS
from digsite.graft.judge.summary import (
    choose_entries,
    claim_best,
    fold_equal_experiments,
    ledger_table,
    list_rivals,
    mean_matrix,
)
from digsite.graft.subjects.theatre import name_pair, open_theatre
from digsite.worker.run import Run

RAW = ("transfer", "preservation", "foreign_as_new", "auc")
HIGHLIGHTS = 5  # methods in the confusion figure, beside the donor
DONOR = "the donor itself"


def study_compare(config: CompareConfig, run: Run) -> None:
    """Choose grid settings on validation images, run all methods on every couple and seed, tell what is best and why."""
    torch.set_num_threads(1)
    tasks = config.list_tasks()
    results = {
        (title, name): per_seed
        for title, task in tasks
        for name, per_seed in _compare_task(task, run, title).items()
    }
    sentences, best = [], []
    for (title, name), per_seed in results.items():
        words = f"{name} on {title}" if title else name
        prefix = "".join(f"{part}/" for part in (title, name) if part) if len(results) > 1 else ""
        report_pair(run, dict(tasks)[title], words, per_seed, prefix)
        sentences.append(claim_best(run, per_seed, ledger_table(per_seed), config.asks, prefix, words))
        best.append(f"{prefix}best")
    if config.geometry:
        _draw_geometry(tasks[0][1], run)
    hero = f"{best[0].removesuffix('best')}transfer"
    run.headline([f"{name}/{part}" for name in best for part in ("transfer", "from_donor")], hero=hero)
    run.verdict(" ".join(sentences), on=["*best/preservation"])


def _compare_task(config: CompareConfig, run: Run, title: str) -> dict[str, list[dict[str, Any]]]:
    """By couple what each seed gave, on one choice of data and classes."""
    jobs, stage = list_couples(config), f"{title} couples".strip()
    check_system(config, run, len(jobs))
    chosen = choose_settings(config, run, title)
    more = lambda name: (chosen[name],)  # noqa: E731
    results: dict[str, list[dict[str, Any]]] = {}
    for i, (name, _, done) in enumerate(
        work_ahead(run, config, compare_on_couple, jobs, more=more, stage=stage)
    ):
        results.setdefault(name, []).append(done)
        _log_couple(run, i, done, title)
    return results


def choose_settings(config: CompareConfig, run: Run, title: str = "") -> dict[str, dict[str, str]]:
    """By pair, of each grid the setting that is best on the validation split of the first couples: its own, or, of a pair
    that chooses none (`select_pairs`), those of the first.
    """
    out: dict[str, dict[str, str]] = {name_pair(pair): {} for pair in config.pairs}
    if not config.grids:
        return out
    choosing = config.model_copy(update={"pairs": config.pairs[: config.select_pairs or None]})
    jobs = list_couples(choosing, config.select_seeds)
    by_setting: dict[str, list[list[dict[str, Any]]]] = {}
    for name, _, lines in work_ahead(run, config, validate_grids, jobs, stage=f"{title} validation".strip()):
        by_setting.setdefault(name, []).append(lines)
    for name, lists in by_setting.items():
        run.table(
            f"{title}/{name}-validation".strip("/"), pd.DataFrame([line for lines in lists for line in lines])
        )
        out[name] = choose_entries(lists)
        run.say(f"{name}: chosen on the validation split: " + "; ".join(out[name].values()))
    first = next(name for name in out if name in by_setting)
    return {name: entries if name in by_setting else out[first] for name, entries in out.items()}


def check_system(config: CompareConfig, run: Run, n_jobs: int) -> None:
    """What is about to happen, before it does."""
    methods = len(config.methods) + sum(len(g.options) for g in config.grids)
    run.say(
        f"{n_jobs} couples on {config.data}, {methods} methods each, every one also with noise in the donor's place; "
        f"{config.workers} processes of one thread, torch {torch.__version__}"
    )


def _log_couple(run: Run, step: int, done: dict[str, Any], title: str) -> None:
    """Transfer and preservation of one couple as points of the journal, and one line of what it was."""
    best = {row["method"]: row for row in done["rows"]}
    prefix = f"{title}/" if title else ""
    shown = ("transfer", "preservation")
    run.log(step, **{f"{prefix}{m}/{k}": row[k] for m, row in best.items() for k in shown})
    run.say(
        f"{title} couple {step + 1}: donor {done['donor_transfer']:.1f}, {len(best)} methods{ceiling_words(done)}".lstrip()
    )


def ceiling_words(done: dict[str, Any]) -> str:
    """The readable ceiling by depth, in one line."""
    depths = [f"{d['layer']}: {d['ceiling']:.0f} %" for d in done.get("ceiling", [])]
    return f"; best of any head by layer of the receiver, {', '.join(depths)}" if depths else ""


def report_pair(
    run: Run, config: CompareConfig, name: str, per_seed: list[dict[str, Any]], prefix: str
) -> None:
    """Ledger, claims and figures of one couple over its seeds."""
    rows = [d["rows"] for d in per_seed]
    timed = ledger_table(per_seed)
    for row in timed.to_dict(
        "records"
    ):  # seconds differ between two equal runs, so they stand beside the clock
        run.cost(f"{prefix}{row['method']}", row["cpu_s"])
    every = timed.drop(columns="cpu_s")
    table = fold_equal_experiments(every)
    run.table(f"{prefix}ledger", table)
    run.json(f"{prefix}ledger", ledger_document(config, name, table, per_seed))
    run.view(f"{name} ledger", kind="table", source=f"tables/{prefix}ledger.csv")
    run.view(
        f"{name} plane",
        kind="curve",
        style="points",
        source=f"tables/{prefix}ledger.csv",
        x="transfer",
        y="preservation",
        group="method",
        x_label="transfer (%)",
        y_label="preservation (%)",
    )
    for method in every["method"]:  # a name that shares its experiment keeps its claims
        claim_method(run, f"{prefix}{method}", [_find_row(r, method) for r in rows])
    receiver = [d["receiver_preservation"] for d in per_seed]
    _claim_percent(
        run,
        f"{prefix}receiver/preservation",
        receiver,
        unit="%",
        kind="share",
        title="Old classes before the graft",
    )
    _draw_pair(run, prefix, name, table, rows, per_seed)
    if (config.data, list(config.new)) == ("mnist", [4]):  # what the published numbers are about
        _show_published(run, prefix, name, every)


def _show_published(run: Run, prefix: str, name: str, every: pd.DataFrame) -> None:
    """The table of what was published about these methods; a picture where there is more than a point to see."""
    published = published_table(every)
    if published.empty:
        return
    run.table(f"{prefix}published", published)
    if len(published) >= FEWEST_PUBLISHED:
        run.figure(
            f"{prefix}published",
            figures.draw_published(published.assign(pair=name)),
            published,
            caption="Published transfer of the same class against what the same method gives here; on the line nothing would differ.",
        )


def _find_row(rows: list[dict[str, Any]], method: str) -> dict[str, Any]:
    """The row of one method among a seed's."""
    return next(row for row in rows if row["method"] == method)


FEWEST_PUBLISHED = 3  # methods with a published number from which their picture says more than their table
WORDS = {
    "transfer": "New class recognized",
    "preservation": "Old classes kept",
    "foreign_as_new": "Foreign class taken for the new one",
    "auc": "Separation of the new class from the old ones (AUROC)",
}


def claim_method(run: Run, name: str, rows: list[dict[str, Any]]) -> None:
    """Raw and calibrated values with their intervals; the calibrated transfer stands beside its rivals."""
    method = name.rpartition("/")[2]
    for key, what in WORDS.items():
        _claim_percent(
            run,
            f"{name}/{key}",
            [r[key] for r in rows],
            title=f"{what}, '{method}', raw",
            unit="%",
            kind="share",
        )
        beside: dict[str, Any] = {
            "title": f"{what}, '{method}'",
            "unit": "%",
            "kind": "share",
            "better": "higher",
        }
        if key == "transfer":
            beside["rivals"] = list_rivals(rows)
        _claim_percent(run, f"{name}/calibrated/{key}", [r[f"calibrated_{key}"] for r in rows], **beside)
    gap = paired_interval(
        [r["calibrated_transfer"] for r in rows], [r["noise_calibrated_transfer"] for r in rows]
    )
    run.claim(
        f"{name}/from_donor",
        gap.value,
        interval=gap,
        unit="points",
        null=0.0,
        kind="difference",
        better="higher",
        null_is="noise in the donor's place",
        title=f"Transfer beyond noise, '{method}'",
        note=f"budget {rows[0]['budget']}",
    )


def _claim_percent(run: Run, name: str, values: list[float], **more: Any) -> None:
    """A percentage over seeds; nothing is claimed where no seed has a value."""
    at = percent_interval(values)
    if at.n:
        run.claim(name, at.value, interval=at, **more)


def published_table(table: pd.DataFrame) -> pd.DataFrame:
    """What was published about these methods beside what they do here; empty when none of them was run."""
    lines = []
    for _, row in table.iterrows():
        published = next((p for name, p in CLAIMS.items() if str(row["method"]).startswith(name)), None)
        if published is not None:
            measured = {key: row[key] for key in ("method", "setting", *RAW, "null_transfer")}
            claim = {
                "published_transfer": published.transfer,
                "published_preservation": published.preservation,
            }
            lines.append({**measured, **claim, "origin": published.origin})
    return pd.DataFrame(lines)


def ledger_document(
    config: CompareConfig, name: str, table: pd.DataFrame, per_seed: list[dict[str, Any]]
) -> dict[str, Any]:
    """The graft ledger as one file: task, lines with null and ablation, ceiling, the donor's own false calls."""
    return {
        "pair": name,
        "data": config.data,
        "old": config.old,
        "shared": config.shared,
        "new": config.new,
        "foreign": config.foreign,
        "seeds": config.seeds,
        "calibration_rate": config.rate,
        "lines": table.to_dict("records"),
        "ceiling": mean_ceiling(per_seed).to_dict("records"),
        "donor_calls_new": pd.DataFrame([dict(map(tuple, d["donor_strangers"])) for d in per_seed])
        .mean()
        .to_dict(),
        "skipped": per_seed[0]["skipped"],
    }


def mean_ceiling(per_seed: list[dict[str, Any]]) -> pd.DataFrame:
    """The readable ceiling by layer, mean over seeds; empty where it was not measured."""
    frame = pd.DataFrame([row for d in per_seed for row in d.get("ceiling", [])])
    return frame if frame.empty else frame.groupby("layer").mean().reset_index()


def _draw_pair(
    run: Run, prefix: str, name: str, table: pd.DataFrame, rows: list[Any], per_seed: list[Any]
) -> None:
    """All figures of one couple; lines that read test images are left out."""
    listed = pd.DataFrame(table[~table["is_void"]])
    run.figure(
        f"{prefix}transfer",
        figures.draw_plane(listed, f"{name}: at equal false alarms"),
        listed,
        caption="How much of the new class each method recognizes at equal false alarms, and how many images of the old "
        "classes it keeps; bars are 95 % intervals over seeds, of one seed there are none.",
    )
    run.figure(
        f"{prefix}transfer_raw",
        figures.draw_plane(listed, f"{name}: thresholds as they are", prefix=""),
        listed,
        caption="The same before false alarms are made equal: transfer against preservation.",
    )
    run.figure(
        f"{prefix}cost",
        figures.draw_cost(listed, name),
        listed,
        caption="Added parameters against transfer at equal false alarms.",
    )
    _show_ceiling(run, prefix, name, per_seed)
    _show_confusion(run, prefix, name, listed, rows, per_seed)


def _show_ceiling(run: Run, prefix: str, name: str, per_seed: list[Any]) -> None:
    """How well any head could tell the new class at each depth of the receiver, where that was measured."""
    ceiling = mean_ceiling(per_seed)
    if not ceiling.empty:
        run.figure(
            f"{prefix}ceiling",
            figures.draw_ceiling(ceiling, name),
            ceiling,
            caption="The best any head could do for the new class at each depth of the receiver.",
        )
        run.table(f"{prefix}ceiling", ceiling)
        run.view(
            f"{name} ceiling",
            kind="curve",
            source=f"tables/{prefix}ceiling.csv",
            x="layer",
            y=["ceiling", "auc", "map_r2"],
            x_label="hidden layer of the receiver",
            y_label="%",
            caption="ceiling: the best calibrated transfer of any head at this depth; auc: new class against foreign; map_r2: explained of the donor's last layer",
        )


def _show_confusion(
    run: Run, prefix: str, name: str, listed: pd.DataFrame, rows: list[Any], per_seed: list[Any]
) -> None:
    """What is called what, of the donor and of the methods that carry most over."""
    matrices = {DONOR: mean_matrix([d["confusion"]["donor"] for d in per_seed])}
    matrices |= {m: mean_matrix([_find_row(r, m)["confusion"] for r in rows]) for m in listed["method"]}
    names = per_seed[0].get("class_names", [])  # absent in what an older version computed
    top = [DONOR, *listed.nlargest(HIGHLIGHTS, "calibrated_transfer")["method"]]
    run.figure(
        f"{prefix}confusion",
        figures.draw_confusions({m: matrices[m] for m in top}, names),
        caption="True class by called class, percent of each row, mean over seeds.",
    )
    stacked = torch.tensor(np.stack(list(matrices.values())), dtype=torch.float32)
    run.tensors(f"{prefix}confusion", {"percent": stacked})
    run.view(
        f"{name} confusion",
        kind="matrix",
        source=f"artifacts/{prefix}confusion.safetensors#percent",
        lead_names=list(matrices),
        **({"row_names": names, "column_names": names} if names else {}),
        x_label="called class",
        y_label="true class",
        unit="%",
        caption="Percent of each true class, mean over seeds; what the donor itself calls new is inherited.",
    )


def _draw_geometry(config: CompareConfig, run: Run) -> None:
    """Features before and after one graft on the first couple, as a figure."""
    pair = config.pairs[0]
    points = run.once(
        "geometry", lambda: collect_geometry(open_theatre(config, pair, config.seed), config.geometry)
    )
    run.figure(
        "geometry",
        figures.draw_concept_space(points, config.new, config.geometry),
        caption="Penultimate features before and after, on the receiver's own main axes.",
    )
