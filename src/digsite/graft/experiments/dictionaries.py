"""Sparse autoencoders of every kind, trained as one ensemble on the receiver's features, saved in both layouts."""

from itertools import product
from typing import Any

import pandas as pd

from digsite.base.intervals import Interval, seed_interval
from digsite.graft.config import DictionariesConfig
from digsite.graft.core.dictionaries import Sae, Spec, kinds, principal, quality, train_saes
from digsite.graft.core.nets import acts
from digsite.graft.figures import ledger as figures
from digsite.graft.judge.summary import groups
from digsite.graft.subjects.sae_files import ARCHITECTURES, save_saelens, save_sparsify
from digsite.graft.subjects.theatre import open_theatre
from digsite.record.verdict import cite
from digsite.worker.run import Run

MEASURES = {
    "explained": "Variance of held-out features that is explained",
    "open_codes": "Codes open on average",
    "dead_frac": "Codes that never open",
}


def specs(config: DictionariesConfig) -> list[Spec]:
    knobs = {kind: config.counts if kind in ("topk", "batch_topk") else config.penalties for kind in kinds()}
    return [
        Spec(kind, width, float(knob), seed)
        for kind in kinds()
        for width, knob, seed in product(config.widths, knobs[kind], range(config.members))
    ]


def dictionaries(config: DictionariesConfig, run: Run) -> None:
    room = open_theatre(config, config.pairs[0], config.seed)
    train = acts(room.pair.receiver, room.pools.old.x).last
    held = acts(room.pair.receiver, room.pools.held_old.x).last
    wanted = specs(config)

    def compute() -> list[dict[str, Any]]:
        trained = train_saes(train, wanted, steps=config.steps, seed=config.seed)
        return [{"params": {k: v[0] for k, v in s.stacked().items()}, "scale": s.scale} for s in trained]

    saes = [Sae(spec, t["params"], t["scale"]) for spec, t in zip(wanted, run.once("ensemble", compute))]
    lines = [{**vars(s.spec), **quality(s, held)} for s in saes]
    table = pd.DataFrame(lines)
    run.table("dictionaries", table)
    reached: dict[str, float] = {}
    for key, part in groups(table, "kind", "width", "sparsity"):
        name = "_".join(map(str, key))
        for measure, what in MEASURES.items():
            at = interval_of(part[measure].tolist())
            rank = round(sum(part["open_codes"].tolist()) / len(part))
            beside: dict[str, Any] = {}
            if measure == "explained":
                beside = {
                    "null": principal(train, held, rank),
                    "better": "higher",
                    "kind": "share",
                    "null_is": "as many principal directions as codes are open",
                }
                reached[f"{name}/explained"] = at.value
            run.claim(f"{name}/{measure}", at.value, interval=at, title=f"{what}, '{name}'", **beside)
    for sae in saes:
        _write(run, sae)
    best = max(reached, key=lambda name: reached[name])
    run.claim("autoencoders", len(saes), kind="count", title="Autoencoders trained as one ensemble")
    run.figure(
        "plane",
        figures.codes_against_explained(table),
        table,
        caption="Sparse autoencoders: codes that are open against what they explain of held-out features.",
    )
    run.headline([best], hero="plane")
    run.verdict(
        f"Of {cite('autoencoders')} sparse autoencoders '{best.rpartition('/')[0]}' explains most of held-out features, "
        f"{cite(best, style='.1%')}, where as many principal directions as it has open codes explain "
        f"{cite(best, 'null', '.1%')}."
    )


def interval_of(values: list[float]) -> Interval:
    return seed_interval(values, "median")


def _write(run: Run, sae: Sae) -> None:
    """One member per setting, in the layouts that can hold it."""
    if sae.spec.seed or sae.spec.kind not in ARCHITECTURES:
        return
    folder = run.dir / "artifacts" / "saes" / f"{sae.spec.kind}-{sae.spec.width}-{sae.spec.sparsity:g}"
    save_saelens(sae, folder)
    if sae.spec.kind == "topk":
        save_sparsify(sae, folder.with_name(f"{folder.name}-sparsify"))
