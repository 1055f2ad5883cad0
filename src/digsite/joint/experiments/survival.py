"""A round-trip run: graft, remove, compare; grafts into pruned and quantized receivers; pruning of grafted networks."""

from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from torch import nn

from digsite.graft.core.metrics import percent_interval
from digsite.graft.core.operate import plan_method, run_operation
from digsite.graft.experiments.jobs import list_couples, work_ahead
from digsite.graft.figures import ledger as figures
from digsite.graft.judge.summary import group_rows
from digsite.graft.subjects.theatre import Theatre, open_theatre
from digsite.joint.config import SurvivalConfig
from digsite.joint.judge.survival import compare, pruned, quantized, removed
from digsite.record.verdict import cite
from digsite.worker.run import Run

Rows = list[dict[str, Any]]


def job(config: dict[str, Any], names: tuple[str, str], seed: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    settings = SurvivalConfig.model_validate(config)
    room = open_theatre(settings, names, seed)
    returned: Rows = []
    survived: Rows = []
    for text in settings.methods:
        model = run_operation(plan_method(text), room.pair, room.pools, None, seed, lens=room.lens).model
        label = plan_method(text).label
        returned.append({"method": label, **there_and_back(room, model)})
        survived += [{"method": label, **line} for line in through(room, text, model, settings)]
    return {"returned": returned, "survived": survived}


def there_and_back(room: Theatre, model: nn.Module) -> dict[str, float]:
    """The receiver against the network that had a graft and lost it."""
    held = room.pools.held_old.x
    away = compare(room.pair.receiver, removed(model, list(room.classes.new)), held, list(room.classes.old))
    after = room.scorer(removed(model, list(room.classes.new))).raw
    return {
        "agreement": away.agreement,
        "logit_distance": away.logit_distance,
        "weight_distance": away.weight_distance,
        "transfer_left": after.transfer,
        "preservation": after.preservation,
    }


def through(room: Theatre, text: str, model: nn.Module, settings: SurvivalConfig) -> Rows:
    """Transfer and preservation after the grafted network, or before it the receiver, was thinned out."""
    changes = [("pruned", s, lambda m, s=s: pruned(m, s)) for s in settings.sparsities]
    changes += [("bits", float(b), lambda m, b=b: quantized(m, b)) for b in settings.bits]
    lines: Rows = []
    for kind, amount, change in changes:
        after = room.scorer(change(model)).raw
        thin = replace(room.pair, receiver=change(room.pair.receiver))
        into = run_operation(
            plan_method(text), thin, room.pools, room.scorer, room.seed, ablate=False
        ).outcome
        assert into is not None
        lines.append(
            {
                "order": "graft, then change",
                "change": kind,
                "amount": amount,
                "transfer": after.transfer,
                "preservation": after.preservation,
            }
        )
        lines.append(
            {
                "order": "change, then graft",
                "change": kind,
                "amount": amount,
                "transfer": into.raw.transfer,
                "preservation": into.raw.preservation,
            }
        )
    return lines


def study_survival(config: SurvivalConfig, run: Run) -> None:
    returned, survived = [], []
    for name, seed, done in work_ahead(run, config, job, list_couples(config)):
        returned.append(pd.DataFrame(done["returned"]).assign(pair=name, seed=seed))
        survived.append(pd.DataFrame(done["survived"]).assign(pair=name, seed=seed))
    back, alive = pd.concat(returned), pd.concat(survived)
    run.table("returned", back)
    run.table("survived", alive)
    for (pair, method), part in group_rows(back, "pair", "method"):
        _claim(
            run,
            f"{pair}/{method}/agreement_after_removal",
            part["agreement"].tolist(),
            null=100.0,
            title=f"Held-out inputs on which the receiver answers as before, '{method}' taken out",
        )
        _claim(
            run,
            f"{pair}/{method}/transfer_after_removal",
            part["transfer_left"].tolist(),
            null=0.0,
            title=f"New class still recognized, '{method}' taken out",
        )
    keys = ["pair", "method", "order", "change", "amount"]
    mean = alive.groupby(keys, sort=False)[["transfer", "preservation"]].mean().reset_index()
    for key, part in group_rows(alive, *keys):
        pair, method, order, change, amount = map(str, key)
        where = "grafted" if order.startswith("graft") else "receiver"
        _claim(
            run,
            f"{pair}/{method}/{where}_{change}_{amount}/transfer",
            part["transfer"].tolist(),
            title=f"New class recognized, '{method}', {where} {change} {amount}",
        )
    thinned = (mean["change"] == "pruned") & (mean["order"] == "graft, then change")
    first = pd.DataFrame(mean[thinned & (mean["pair"] == back["pair"].iloc[0])])
    if not first.empty:
        run.figure(
            "survival",
            figures.draw_survival(first, "amount", "share of weights pruned away"),
            first,
            caption="Transfer that is left when the grafted network is pruned by size.",
        )
    run.headline(
        ["*/agreement_after_removal", "*/transfer_after_removal"], hero="survival" if not first.empty else ""
    )
    run.verdict(_verdict(back))


def _claim(run: Run, name: str, values: list[float], null: float | None = None, title: str = "") -> None:
    at = percent_interval(values)
    run.claim(name, at.value, interval=at, null=null, unit="%", kind="share", title=title)


def _verdict(back: pd.DataFrame) -> str:
    words, left = [], {}
    for (pair, method), part in group_rows(back, "pair", "method"):
        name = f"{pair}/{method}"
        words.append(f"'{method}' agrees on {cite(f'{name}/agreement_after_removal')} of held-out inputs")
        left[f"{name}/transfer_after_removal"] = percent_interval(part["transfer_left"].tolist()).value
    most = max(left, key=lambda name: left[name])
    return (
        "With the graft taken out again, the network beside the original receiver: "
        + ", ".join(words)
        + f". Transfer left: at most {cite(most)}."
    )
