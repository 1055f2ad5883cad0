"""A forensics run: AUROC of planted rows by layer, beside untouched networks."""

import numpy as np
import pandas as pd

from digsite.graft.config import ForensicsConfig
from digsite.graft.core.metrics import interval
from digsite.graft.experiments.jobs import couples, worked
from digsite.graft.figures import ledger as figures
from digsite.graft.judge.planted import job
from digsite.graft.judge.summary import groups
from digsite.worker.run import Run


def forensics(config: ForensicsConfig, run: Run) -> None:
    found = worked(run, config, job, couples(config))
    table = pd.concat([pd.DataFrame(done["rows"]).assign(pair=name, seed=seed) for name, seed, done in found])
    run.table("rows", table)
    mean = (
        table.groupby(["pair", "case", "layer"], sort=False)[["auroc", "hits", "false_alarms"]]
        .mean()
        .reset_index()
    )
    run.table("mean", mean)
    for name, part in mean.groupby("pair", sort=False):
        run.figure(
            f"{name}-detection",
            figures.detection(part),
            part,
            caption="How well planted rows are told from native ones, by layer; 50 is chance.",
        )
    _claims(run, table, several=len(config.pairs) > 1)
    run.verdict(verdict(mean))


def _claims(run: Run, table: pd.DataFrame, several: bool) -> None:
    for (pair, case, layer), part in groups(table, "pair", "case", "layer"):
        at = interval(part["auroc"].tolist())
        name = f"{str(pair) + '/' if several else ''}{str(case).replace(' ', '_')}/layer{layer}/auroc"
        run.claim(name, at.mean, **at.bounds(), null=50.0, unit="%")
    for (pair,), part in groups(pd.DataFrame(table[table["case"] == "control"]), "pair"):
        name = f"{str(pair) + '/' if several else ''}false_alarms"
        at = interval([float(np.mean(one["false_alarms"])) for _, one in groups(part, "seed")])
        run.claim(
            name,
            at.mean,
            low=at.low,
            high=at.high,
            n=at.n,
            unit="%",
            note="rows of untouched networks flagged",
        )


def verdict(mean: pd.DataFrame) -> str:
    deep = mean[mean["layer"] > 1]
    worst = deep[deep["case"] == "random"]["auroc"].min()
    tuned = deep[deep["case"] == "tuned"]["auroc"].min()
    quiet = mean[mean["case"] == "control"]["false_alarms"].mean()
    return (
        f"Planted rows are found from the weights alone with AUROC {worst:.1f} % or better beyond the first layer, "
        f"{tuned:.1f} % after fine-tuning. Of an untouched network {quiet:.1f} % of the rows are flagged."
    )
