"""An audit run: the published protocol beside the honest one, claim by claim."""

from typing import Any

import pandas as pd

from digsite.graft.config import AuditConfig
from digsite.graft.core.metrics import paired_interval, percent_interval
from digsite.graft.experiments.jobs import list_couples, work_ahead
from digsite.graft.figures import ledger as figures
from digsite.graft.judge.published import CLAIMS, FRAMEWORK, reenact_on_couple
from digsite.graft.judge.summary import group_rows
from digsite.record.verdict import cite
from digsite.worker.run import Run


def study_audit(config: AuditConfig, run: Run) -> None:
    """Every step of the published protocol on every couple, with the claims that it was published for."""
    frames, nothing = [], []
    for name, seed, done in work_ahead(run, config, reenact_on_couple, list_couples(config)):
        frames.append(pd.DataFrame(done["rows"]).assign(pair=name, seed=seed))
        nothing.append({"pair": name, "seed": seed, **done["no_donor"]})
    timed = pd.concat(frames)
    for row in timed.to_dict("records"):
        run.cost(f"{row['pair']}/{row['method']}/{row['seed']}", row["cpu_s"])
    table = timed.drop(columns="cpu_s")
    run.table("reenactment", table)
    run.table("no_donor", tabulate_no_donor(nothing))
    run.table("claims", tabulate_published(table))
    run.table("generator", pd.DataFrame([vars(p) for p in FRAMEWORK]))
    _claim_steps(run, table, nothing)
    run.figure(
        "claims",
        figures.draw_published(published := tabulate_published(table)),
        published,
        caption="Published transfer against what the same step gives here; on the line nothing would differ.",
    )
    run.verdict(say_audit(run, table))


def tabulate_no_donor(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """What the framework gives as its code stands, couple by couple."""
    return pd.DataFrame(rows)


def tabulate_published(table: pd.DataFrame) -> pd.DataFrame:
    """Published beside measured, one line per pair and re-enacted step."""
    lines = []
    for (pair, method), part in group_rows(table, "pair", "method"):
        claim = next((p for name, p in CLAIMS.items() if str(method).startswith(name)), None)
        at, kept = (
            percent_interval(part["transfer"].tolist()),
            percent_interval(part["preservation"].tolist()),
        )
        lines.append(
            {
                "pair": pair,
                "method": method,
                "what": part["what"].iloc[0],
                "budget": part["budget"].iloc[0],
                "void": "t" in str(part["budget"].iloc[0]),
                "published_transfer": claim.transfer if claim else None,
                "published_preservation": claim.preservation if claim else None,
                "origin": claim.origin if claim else "",
                "transfer": at.value,
                "transfer_low": at.low,
                "transfer_high": at.high,
                "preservation": kept.value,
                "with_noise_for_donor": part["noise_transfer"].mean(),
                "null": part["null_transfer"].mean(),
                "foreign_as_new": part["foreign_as_new"].mean(),
                "framework_specificity": part["framework_specificity"].mean(),
                "legacy_specificity": part["legacy_specificity"].mean(),
            }
        )
    return pd.DataFrame(lines)


TITLES = {
    "transfer": "New class recognized, '{method}': {what}",
    "preservation": "Old classes kept, '{method}'",
    "foreign_as_new": "Foreign class taken for the new one, '{method}'",
}


def _claim_steps(run: Run, table: pd.DataFrame, nothing: list[dict[str, Any]]) -> None:
    """Each step's transfer beside noise in the donor's place and beside no donor, and what it keeps."""
    several = len(set(table["pair"].tolist())) > 1
    for (pair, method), part in group_rows(table, "pair", "method"):
        name = f"{pair}/{method}" if several else str(method)
        for key, text in TITLES.items():
            at = percent_interval(part[key].tolist())
            beside: dict[str, Any] = {}
            if key == "transfer":
                beside["rivals"] = {
                    "noise in the donor's place": percent_interval(part["noise_transfer"].tolist()).value,
                    "novelty alone, no donor": percent_interval(part["null_transfer"].tolist()).value,
                }
            run.claim(
                f"{name}/{key}",
                at.value,
                interval=at,
                unit="%",
                kind="share",
                better="higher",
                **beside,
                title=text.format(method=method, what=part["what"].iloc[0]),
            )
        gap = paired_interval(part["transfer"].tolist(), part["noise_transfer"].tolist())
        run.claim(
            f"{name}/donor_effect",
            gap.value,
            interval=gap,
            unit="points",
            kind="difference",
            null=0.0,
            null_is="noise in the donor's place",
            title=f"Transfer beyond noise, '{method}'",
        )
    none = percent_interval([row["transfer"] for row in nothing])
    run.claim(
        "framework_as_coded/transfer",
        none.value,
        interval=none,
        unit="%",
        kind="share",
        title="New class recognized with the framework as its code stands: no network ever saw the class",
    )
    run.claim(
        "published/transfer",
        CLAIMS["aligned_spatial"].transfer,
        unit="%",
        kind="share",
        title="The published value of aligned_spatial",
    )


LEAKING, BLIND = "aligned_spatial_as_published=true_leak=true", "aligned_spatial_without_new=true"


def say_audit(run: Run, table: pd.DataFrame) -> str:
    """The published step, the same with noise, the same without any image of the class, and the honest union."""
    first = table["pair"].iloc[0]
    prefix = f"{first}/" if len(set(table["pair"].tolist())) > 1 else ""
    run.headline(
        [f"{prefix}{step}/transfer" for step in (LEAKING, BLIND, "union")]
        + [f"{prefix}{LEAKING}/donor_effect"],
        hero="claims",
    )
    effect = f"{prefix}{LEAKING}/donor_effect"
    return (
        f"The published {cite('published/transfer')} is {cite(f'{prefix}{LEAKING}/transfer')} when re-enacted on its own test "
        f"images ('{first}'); beyond noise in the donor's place it is {cite(effect)}. Without any image of the new class the "
        f"same method gives {cite(f'{prefix}{BLIND}/transfer')}. Both networks side by side, with no image at all, reach "
        f"{cite(f'{prefix}union/transfer')}."
    )
