"""The published cosine of parts with true directions, beside what parts that know nothing reach by their number alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from digsite.base.intervals import seed_interval
from digsite.decompose.config import SpdPublishedConfig
from digsite.decompose.core.decomposition import Components
from digsite.decompose.judge import baselines
from digsite.decompose.judge.score import match_true_columns
from digsite.decompose.subjects import targets
from digsite.figures import scatter
from digsite.record.verdict import cite

if TYPE_CHECKING:
    from digsite.worker.run import Run

SOURCE = "SPD paper, Table 1, input matrix"


@dataclass(frozen=True)
class Printed:
    """One row of the published table: a toy model, its number of parts, and the cosine that was printed."""

    name: str
    cosine: float
    parts: int


PRINTED = (Printed("tms_5-2", 1.0, 20), Printed("tms_40-10", 1.0, 200))


def study_published(config: SpdPublishedConfig, run: Run) -> None:
    """Each printed cosine beside random parts in the same number, on targets that were trained here."""
    rows = []
    for row in PRINTED:
        run.stage(f"random parts beside {row.name}", config.seeds)
        rows += run.once(f"random-{row.name}", lambda row=row: draw_random(config, run, row))
    table = pd.DataFrame(rows)
    run.table("random_parts", table)
    for row in PRINTED:
        claim_margin(run, row, table[table["model"] == row.name])  # pyright: ignore[reportArgumentType]
    run.figure(
        "margin",
        draw_margin(table),
        table,
        caption="Cosine that random parts reach against the printed one; on the line the table says nothing.",
    )
    low, high = (f"{row.name}/random" for row in PRINTED)
    run.headline([f"{row.name}/margin" for row in PRINTED], hero="margin")
    run.verdict(
        f"Of the printed cosines with the true directions, {cite('tms_5-2/published', style='.3f')} each, random parts in "
        f"the same number reach {cite(low, style='.3f')} for 'tms_5-2', where all directions lie in one plane, and "
        f"{cite(high, style='.3f')} for 'tms_40-10'. So the margin is {cite('tms_5-2/margin', style='.3f')} and "
        f"{cite('tms_40-10/margin', style='.3f')}: the cosine cannot show that parts were found in a plane, and the errors "
        "of the importance pattern can."
    )


def draw_random(config: SpdPublishedConfig, run: Run, row: Printed) -> list[dict[str, float | str]]:
    """Per trained target: the best cosine of as many random parts, and that of singular vectors; means over features."""
    rows = []
    target = config.targets[row.name]
    for k, model in enumerate(targets.train_targets(target, [config.seed + k for k in range(config.seeds)])):
        weight = model.get_parameter("linear1.weight").detach().T  # (features, hidden)
        generator = run.generator(f"random-{row.name}", k)
        drawn = random_parts(weight, row.parts, generator)
        svd = baselines.split_singular(drawn)
        rows.append(
            {
                "model": row.name,
                "printed": row.cosine,
                "seed": k,
                "random": match_true_columns(drawn)["mmcs"],
                "svd": match_true_columns(svd)["mmcs"],
            }
        )
        run.let_signals_in(k + 1)
    return rows


def random_parts(weight: Tensor, n: int, generator: torch.Generator) -> Components:
    """`n` rank-one parts whose directions were drawn without a look at `weight` (features, hidden)."""
    v = torch.randn(weight.shape[0], n, generator=generator)
    u = torch.randn(n, weight.shape[1], generator=generator)
    return Components(v, u, weight)


def claim_margin(run: Run, row: Printed, table: pd.DataFrame) -> None:
    """What the printed value is beyond random parts, over targets."""
    parts = f"{row.parts} random parts"
    title = f"The printed cosine of {row.name}"
    run.claim(f"{row.name}/published", row.cosine, kind="correlation", title=title, note=SOURCE)
    over = seed_interval(table["random"].tolist(), "correlation")
    run.claim(
        f"{row.name}/random",
        interval=over,
        kind="correlation",
        title=f"Cosine of the closest of {parts} with a true direction, {row.name}",
        rivals={"singular vectors": float(np.median(table["svd"]))},
    )
    beyond = seed_interval((row.cosine - table["random"]).tolist(), "difference")
    run.claim(
        f"{row.name}/margin",
        interval=beyond,
        kind="difference",
        null=0.0,
        null_is=parts,
        better="higher",
        title=f"What the printed cosine of {row.name} is beyond {parts}",
    )


def draw_margin(table: pd.DataFrame) -> object:
    """Printed against random: points on the diagonal mean that the number of parts explains the cosine."""
    groups = {
        str(name): (part["random"], part["printed"]) for name, part in table.groupby("model", sort=False)
    }
    return scatter(groups, x="cosine of random parts", y="printed cosine", diagonal=True)
