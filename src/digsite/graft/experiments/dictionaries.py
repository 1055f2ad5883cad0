"""Sparse autoencoders of every kind, trained as one ensemble on the receiver's features, saved in both layouts."""

from itertools import product
from typing import Any

import pandas as pd

from digsite.graft.config import DictionariesConfig
from digsite.graft.core.dictionaries import Sae, Spec, kinds, principal, quality, train_saes
from digsite.graft.core.metrics import interval
from digsite.graft.core.nets import acts
from digsite.graft.judge.summary import groups
from digsite.graft.subjects.sae_files import ARCHITECTURES, save_saelens, save_sparsify
from digsite.graft.subjects.theatre import open_theatre
from digsite.worker.run import Run


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
    for key, part in groups(table, "kind", "width", "sparsity"):
        name = "_".join(map(str, key))
        for measure in ("explained", "open_codes", "dead_frac"):
            at = interval(part[measure].tolist())
            rank = round(sum(part["open_codes"].tolist()) / len(part))
            null = principal(train, held, rank) if measure == "explained" else None
            note = (
                "null: as many principal directions as codes are open on average" if null is not None else ""
            )
            run.claim(f"{name}/{measure}", at.mean, **at.bounds(), null=null, note=note)
    for sae in saes:
        _write(run, sae)
    best = table.sort_values("explained").iloc[-1]
    run.verdict(
        f"{len(saes)} autoencoders of {len(kinds())} kinds were trained as one ensemble. The best explains "
        f"{100 * best['explained']:.1f} % of held-out features ('{best['kind']}', {best['width']} codes)."
    )


def _write(run: Run, sae: Sae) -> None:
    """One member per setting, in the layouts that can hold it."""
    if sae.spec.seed or sae.spec.kind not in ARCHITECTURES:
        return
    folder = run.dir / "artifacts" / "saes" / f"{sae.spec.kind}-{sae.spec.width}-{sae.spec.sparsity:g}"
    save_saelens(sae, folder)
    if sae.spec.kind == "topk":
        save_sparsify(sae, folder.with_name(f"{folder.name}-sparsify"))
