"""A forensics run: AUROC of planted rows by layer, beside untouched networks."""

import numpy as np
import pandas as pd

from digsite.graft.config import ForensicsConfig
from digsite.graft.core.metrics import percent_interval
from digsite.graft.experiments.jobs import list_couples, work_ahead
from digsite.graft.figures import ledger as figures
from digsite.graft.judge.forensics import plant_on_couple
from digsite.graft.judge.summary import group_rows
from digsite.record.verdict import cite
from digsite.worker.run import Run


def study_forensics(config: ForensicsConfig, run: Run) -> None:
    """Plant rows in every way on every couple, look for them from the weights alone, claim how well it goes."""
    results = work_ahead(run, config, plant_on_couple, list_couples(config))
    table = pd.concat(
        [pd.DataFrame(done["rows"]).assign(pair=name, seed=seed) for name, seed, done in results]
    )
    run.table("rows", table)
    mean = (
        table.groupby(["pair", "case", "layer"], sort=False)[["auroc", "hits", "false_alarms"]]
        .median()
        .reset_index()
    )
    run.table("mean", mean)
    for name, part in mean.groupby("pair", sort=False):
        run.figure(
            f"{name}-detection",
            figures.draw_detection(part),
            part,
            caption="How well planted rows are told from native ones, by layer; 50 is chance.",
        )
    _claim_cases(run, table, several=len(config.pairs) > 1)
    run.verdict(say_forensics(run, mean, several=len(config.pairs) > 1))


def _claim_cases(run: Run, table: pd.DataFrame, several: bool) -> None:
    """AUROC by way of planting and layer beside guessing, and false alarms on untouched networks."""
    for (pair, case, layer), part in group_rows(table, "pair", "case", "layer"):
        at = percent_interval(part["auroc"].tolist())
        run.claim(
            claim_id(pair, case, layer, several),
            at.value,
            interval=at,
            null=50.0,
            unit="%",
            kind="share",
            better="higher",
            null_is="guessing",
            title=f"Planted rows told from native ones (AUROC), {case}, layer {layer}",
        )
    for (pair,), part in group_rows(pd.DataFrame(table[table["case"] == "control"]), "pair"):
        name = f"{str(pair) + '/' if several else ''}false_alarms"
        at = percent_interval(
            [float(np.mean(group["false_alarms"])) for _, group in group_rows(part, "seed")]
        )
        run.claim(
            name,
            at.value,
            interval=at,
            unit="%",
            kind="share",
            better="lower",
            title="Rows of untouched networks that are flagged",
        )


def claim_id(pair: object, case: object, layer: object, several: bool) -> str:
    """The name of a claim; the pair is part of it where there are `several`."""
    return f"{str(pair) + '/' if several else ''}{str(case).replace(' ', '_')}/layer{layer}/auroc"


def say_forensics(run: Run, mean: pd.DataFrame, several: bool) -> str:
    """The hardest way of planting leads; the easiest one alone would say "100 % or better"."""
    planted = mean[~mean["case"].str.startswith("control")].sort_values("auroc", kind="stable")  # pyright: ignore[reportCallIssue]
    deep = planted[planted["layer"] > 1]

    def worst(part: pd.DataFrame) -> str:
        line = part.iloc[0]
        return claim_id(line["pair"], line["case"], int(line["layer"]), several)

    hard, easy = planted.iloc[0], deep[deep["case"] == "random"]
    tuned = deep[deep["case"] == "tuned"]
    alarms = f"{str(mean['pair'].iloc[0]) + '/' if several else ''}false_alarms"
    run.headline(list(dict.fromkeys([worst(planted), worst(tuned), worst(easy), alarms])))  # pyright: ignore[reportArgumentType]
    return (
        f"Hardest to find are '{hard['case']}' rows in layer{int(hard['layer'])}: AUROC {cite(worst(planted))} from the "
        f"weights alone. Beyond the first layer rows taken over as they are reach {cite(worst(easy))} at least, after "  # pyright: ignore[reportArgumentType]
        f"fine-tuning {cite(worst(tuned))}. Of an untouched network {cite(alarms)} of the rows are flagged."  # pyright: ignore[reportArgumentType]
    )
