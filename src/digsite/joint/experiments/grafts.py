"""Grafts followed: taken out again, through pruning and rounding; and steps of compiled programs moved into trained networks."""

from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.base.intervals import Interval, seed_interval
from digsite.decompose.subjects.compiled import CompiledProgram, CompiledTransformer, load_program
from digsite.figures import bars
from digsite.graft.core.metrics import percent_interval
from digsite.graft.core.operate import plan_method, run_operation
from digsite.graft.experiments.jobs import list_couples, work_ahead
from digsite.graft.figures import ledger as figures
from digsite.graft.judge.summary import group_rows
from digsite.graft.subjects.theatre import Theatre, open_theatre
from digsite.joint.config import GraftProgramConfig, SurvivalConfig
from digsite.joint.judge.survival import (
    WAYS,
    ProgramBench,
    build_transformer,
    compare,
    pruned,
    quantized,
    redraw_donor,
    removed,
    shuffle_donor,
)
from digsite.record.verdict import cite
from digsite.train import Examples, Member, train_ensemble
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


# graft-program: a compiled program's step, whose every entry is known, moved into networks that were trained on another task.
# What arrived can be compared with what was sent, entry by entry; only the reader between the two is fitted.


def study_graft_program(config: GraftProgramConfig, run: Run) -> None:
    """Every program into receivers of several widths, one for each seed: as it is, shuffled, random, and not at all."""
    rows: Rows = []
    for name in config.programs:
        program = load_program(name)
        for width in config.widths:
            run.stage(f"{name} into width {width}", 1)
            rows += run.once(f"{name}-{width}", lambda p=program, w=width: _graft_into(config, run, p, w))
    frame = pd.DataFrame(rows)
    run.table("grafts", frame)
    _conclude_programs(run, frame)


def _graft_into(config: GraftProgramConfig, run: Run, program: CompiledProgram, width: int) -> Rows:
    """One program into receivers of one width: both ways, and every null. Readers are fitted on one half of the inputs."""
    ids = program.domain[-1]
    order = torch.randperm(len(ids), generator=run.generator(f"halves-{program.name}"))
    halves = ids[order[: len(ids) // 2]], ids[order[len(ids) // 2 :]]
    donor, rows = dict(program.model.state_dict()), []
    for seed, receiver in enumerate(_train_receivers(config, run, program, width, halves[0])):
        bench = ProgramBench(program, receiver, *halves)
        about = {"program": program.name, "width": width, "seed": seed, "old right": bench.score_old()}
        rows.append(about | {"way": "", "donor": "receiver alone", "refitted": bench.refit(receiver)})
        for way in WAYS:
            draw = run.generator(f"nulls-{program.name}-{way}-{width}", seed)
            rows.append(about | {"way": way, "donor": "program"} | bench.score(donor, way))
            rows.append(
                about | {"way": way, "donor": "shuffled donor"} | bench.score(shuffle_donor(donor, draw), way)
            )
            rows.append(
                about | {"way": way, "donor": "random donor"} | bench.score(redraw_donor(donor, draw), way)
            )
    return rows


def _train_receivers(
    config: GraftProgramConfig, run: Run, program: CompiledProgram, width: int, seen: Tensor
) -> list[CompiledTransformer]:
    """Networks with the program's tokens that learned to name the symbol before each one, deep enough for a reader and it."""
    truth = program.truth
    tokens, positions = (truth["matrices"][f"{name}.weight"]["shape"][0] for name in ("embed", "pos"))
    shapes = {
        "embed.weight": (tokens, width),
        "pos.weight": (positions, width),
        "unembed.weight": (tokens, width),
    }
    for i in range(truth["layers"] + 1):
        shapes[f"blocks.{i}.attn.q.weight"] = (config.heads * truth["key_size"], width)
        shapes[f"blocks.{i}.mlp.in.weight"] = (config.neurons, width)
    net = build_transformer(shapes, truth["key_size"])
    members = [
        Member(
            seed=run.derive("receiver", s),
            lr=config.lr,
            batch=config.batch,
            steps=config.steps,
            schedule="cosine",
            warmup=min(50, config.steps),
        )
        for s in range(config.seeds)
    ]
    before = torch.cat([seen[:, :1], seen[:, :-1]], 1)
    done = train_ensemble(net.requires_grad_(True), Examples(seen, before), members, loss=_measure_tokens)
    return [done.ensemble.module(i).requires_grad_(False) for i in range(config.seeds)]  # pyright: ignore[reportReturnType]


def _measure_tokens(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean loss of naming a token at every position."""
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())


def _conclude_programs(run: Run, frame: pd.DataFrame) -> None:
    """What the grafts answer beside the best null of the same receivers, what became of the old answers, and the ledger."""
    drawn: dict[str, dict[str, float]] = {"values": {}, "lows": {}, "highs": {}, "nulls": {}}
    for (program, width), part in group_rows(frame, "program", "width"):
        for way, words in WAYS.items():
            name, label = f"{program}/{way}/width_{width}", f"{program}, {way}, {width}"
            over, chance = _claim_graft(
                run, name, f"'{program}' in a receiver of width {width}, {words}", part, way
            )
            ends = (over.value if end is None else end for end in (over.low, over.high))
            for key, value in zip(drawn, (over.value, *ends, chance), strict=True):
                drawn[key][label] = float(value)
    widths = frame["width"].tolist()
    run.claim("widest", max(widths), kind="count", title="Dimensions of the widest receiver's stream")
    run.claim("narrowest", min(widths), kind="count", title="Dimensions of the narrowest receiver's stream")
    moved = frame[frame["donor"] == "program"]
    for column, title in (
        ("moved entries", "Entries other than zero that were moved, in all grafts"),
        ("differing", "Entries of program or receiver that are not what they were"),
        ("stray", "Entries that neither receiver nor program nor reader put there"),
    ):
        run.claim(column.split()[0], int(sum(moved[column].tolist())), kind="count", title=title)
    bars_of = bars(drawn.pop("values"), y="% of the program's answers", null_label="best null", **drawn)
    caption = (
        "Answers of a grafted program, by way and width of the receiver; gray: the best of shuffled donor, random donor "
        "and the receiver alone, each with a reader fitted on half of the inputs."
    )
    run.figure("answers", bars_of, frame, caption=caption)
    first = frame["program"].iloc[0]
    run.headline([f"{first}/{way}/width_{max(widths)}/right" for way in WAYS], hero="answers")
    run.verdict(_say_programs(frame))


def _claim_graft(run: Run, name: str, title: str, part: pd.DataFrame, way: str) -> tuple[Interval, float]:
    """Both claims of a graft: the program's answers beside the nulls of the same receivers, and the old answers kept."""
    own = part[(part["way"] == way) & (part["donor"] == "program")]
    beside = part[(part["donor"] != "program") & part["way"].isin(["", way])]
    rivals = {
        str(donor): float(rows[["right", "refitted"]].max(axis=1).median())
        for donor, rows in beside.groupby("donor", sort=False)
    }
    about: dict[str, Any] = {"kind": "median", "unit": "%", "better": "higher"}
    right = seed_interval(own["right"].tolist(), "median", least=0.0, most=100.0)
    run.claim(f"{name}/right", interval=right, rivals=rivals, title=f"Answers given by {title}", **about)
    kept = seed_interval(own["kept"].tolist(), "median", least=0.0, most=100.0)
    run.claim(f"{name}/kept", interval=kept, title=f"Old answers kept with {title}", **about)
    return right, max(rivals.values())


def _say_programs(frame: pd.DataFrame) -> str:
    """Per program what arrives in the widest and in the narrowest receiver, and the ledger."""
    widths, parts = sorted(set(frame["width"].tolist())), []
    least, most = widths[0], widths[-1]
    for program in dict.fromkeys(frame["program"].tolist()):
        at = {width: f"{program}/step/width_{width}/right" for width in (least, most)}
        narrow = "" if least == most else f", {cite(at[least], style='.0f')} % at width {cite('narrowest')}"
        parts.append(
            f"'{program}': the step alone gives {cite(at[most], style='.0f')} % of the answers at width {cite('widest')}{narrow}, "
            f"the best null {cite(at[most], 'null', '.0f')} %"
        )
    return (
        ". ".join(parts)
        + f". Of {cite('moved')} entries moved, {cite('differing')} differ from the program's or the receiver's."
    )
