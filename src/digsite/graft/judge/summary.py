"""Over the seeds: the ledger table, the chosen grid entries, and two sentences that follow from the numbers."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from digsite.base.errors import DigsiteError
from digsite.base.intervals import Interval, exact_share
from digsite.graft.config import list_group
from digsite.graft.core.metrics import paired_interval, percent_interval
from digsite.record.verdict import cite

if TYPE_CHECKING:
    from digsite.worker.run import Run

MEANS = (
    "transfer",
    "preservation",
    "foreign_as_new",
    "auc",
    "calibrated_transfer",
    "calibrated_preservation",
    "calibrated_foreign_as_new",
    "calibrated_auc",
    "noise_transfer",
    "noise_calibrated_transfer",
    "blind_calibrated_transfer",
    "null_transfer",
    "gain",
    "from_donor",
    "collateral",
    "added_parameters",
    "bytes_crossed",
    "cpu_s",
)
BOUNDS = ("transfer", "preservation", "calibrated_transfer", "calibrated_preservation", "from_donor")
SLACK = 3.0  # points of preservation that a setting may cost and still be chosen
TOLERANCE = 5.0  # points of preservation that a method may cost and still be named best
Results = list[dict[str, Any]]


def group_rows(frame: pd.DataFrame, *keys: str) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    """Parts of a table by its keys, in the order of their first rows; one label is one setting."""
    for key, part in frame.groupby(list(keys), sort=False):
        if "method" in keys and "setting" in part and len(set(part["setting"])) > 1:
            unlike = " and ".join(map(repr, dict.fromkeys(part["setting"])))
            raise UnlikeSettings(f"The label {key} stands for {unlike}: these are different experiments.")
        yield (key if isinstance(key, tuple) else (key,)), pd.DataFrame(part)


def choose_entries(validated: list[list[dict[str, Any]]]) -> dict[str, str]:
    """Grid to the setting with the best transfer on the validation split, mean over couples.

    One that failed anywhere is out, and so is one that keeps less of the old classes than the best keeper minus `SLACK`.
    """
    frame = pd.DataFrame([line for lines in validated for line in lines])
    if frame.empty:
        return {}
    out: dict[str, str] = {}
    for (grid,), part in group_rows(frame, "grid"):
        means = {
            text: (
                float(np.mean(group["transfer"].to_numpy())),
                float(np.mean(group["preservation"].to_numpy())),
            )
            for (text,), group in group_rows(part, "text")
        }
        whole = {text: pair for text, pair in means.items() if np.isfinite(pair).all()}
        floor = max((kept for _, kept in whole.values()), default=0.0) - SLACK
        good = {text: moved for text, (moved, kept) in whole.items() if kept >= floor}
        if good:
            out[grid] = max(good, key=lambda text: good[text])
    return out


def ledger_table(per_seed: Results) -> pd.DataFrame:
    """One line per method: medians over seeds, intervals of the main columns."""
    lines = []
    all_rows = [d["rows"] for d in per_seed]
    for first in all_rows[0]:
        rows = [next(r for r in seed_rows if r["method"] == first["method"]) for seed_rows in all_rows]
        line: dict[str, Any] = {
            "method": first["method"],
            "setting": first["setting"],
            "budget": first["budget"],
            "images_read": first["images_read"],
            "is_void": first["is_void"],
            "identity": first["identity"],
            "seeds": len(rows),
        }
        for key in MEANS:
            at = percent_interval([r[key] for r in rows])
            line[key] = at.value
            if key in BOUNDS:
                line[f"{key}_low"], line[f"{key}_high"] = (
                    at.value if end is None else end for end in (at.low, at.high)
                )
                line[f"{key}_sd"] = float(np.std([r[key] for r in rows], ddof=1)) if len(rows) > 1 else 0.0
        lines.append(line)
    return pd.DataFrame(lines)


def fold_equal_experiments(table: pd.DataFrame) -> pd.DataFrame:
    """One line per experiment: names with one idea and equal settings share it, the others in `also`."""
    lines, places = [], {}
    for line in table.to_dict("records"):
        identity = line.pop("identity")
        if identity in places:
            lines[places[identity]]["also"] += f" {line['method']}"
        else:
            places[identity] = len(lines)
            lines.append(line | {"also": ""})
    for line in lines:
        line["also"] = line["also"].strip()
    return pd.DataFrame(lines)


def mean_matrix(counts: list[Any]) -> np.ndarray:
    """Mean confusion in percent of each true class; classes without images stay empty."""
    total = np.stack([np.asarray(count, dtype=float) for count in counts]).mean(0)
    size = total.sum(1, keepdims=True)
    return np.where(size > 0, 100 * total / np.where(size > 0, size, 1), np.nan)


ASKED = {
    "blind": "the best method without an image of the new class",
    "surgery": "the best of the twelve surgery methods",
    "injection": "the best of the nine injection methods",
    "any": "the best method that keeps the old classes",
}


class UnlikeSettings(DigsiteError):
    """Rows of two experiments under one label."""


def list_candidates(table: pd.DataFrame, asks: str) -> list[str]:
    """Methods that a study's question is about: never nulls, never what has read test images."""
    real = ~table["is_void"] & ~table["method"].str.startswith(("null_", "random_"))
    if asks == "blind":
        real &= ~table["budget"].str.contains("[bkFt]") & (table["bytes_crossed"] > 64)
    if asks in ("surgery", "injection"):
        family = list_group(asks)
        real &= table["method"].map(lambda name: any(name == f or name.startswith(f"{f}_") for f in family))
    return table[real]["method"].tolist()


def chosen_elsewhere(per_seed: Results, names: list[str]) -> list[dict[str, Any]]:
    """Of each seed the row of the method that is best on the other seeds: no method is chosen on what scores it.

    `per_seed`: what each couple gave. `names`: the candidates. With one seed there is no other, and the choice is made
    on the seed itself; whoever claims the result says so.
    """
    rows = []
    for i, own in enumerate(per_seed):
        others = [d for k, d in enumerate(per_seed) if k != i] or [own]
        floor = float(np.mean([d["receiver_preservation"] for d in others])) - TOLERANCE
        means = {}
        for name in names:
            seen = [r for d in others for r in d["rows"] if r["method"] == name]
            if seen and np.mean([r["calibrated_preservation"] for r in seen]) >= floor:
                means[name] = float(np.mean([r["calibrated_transfer"] for r in seen]))
        if means:
            best = max(means, key=lambda name: means[name])
            rows.append(next(r for r in own["rows"] if r["method"] == best))
    return rows


def claim_best(run: "Run", per_seed: Results, table: pd.DataFrame, asks: str, prefix: str, name: str) -> str:
    """The headline of one couple, and its sentence: the best method that was asked for, beside its strongest rival."""
    names = list_candidates(table, asks)
    rows = chosen_elsewhere(per_seed, names)
    if not rows:
        return f"For the networks '{name}', {ASKED[asks]} does not keep the old classes."
    honest = chosen_elsewhere(per_seed, [n for n in list_candidates(table, "blind") if n not in names])
    rivals = list_rivals(rows)
    if honest:
        other = percent_interval([r["calibrated_transfer"] for r in honest]).value
        rivals["the best other method without its images"] = other
    over, how = _over_seeds_or_images(per_seed, [r["calibrated_transfer"] for r in rows])
    share: dict[str, Any] = {"unit": "%", "kind": "share", "better": "higher"}
    lead = f"{name}: " if prefix else ""  # where several couples are compared two titles would read alike
    title = f"{lead}New class recognized with {ASKED[asks]}, at equal false alarms"
    run.claim(f"{prefix}best/transfer", interval=over, rivals=rivals, title=title, note=how, **share)
    donor = [max(r["noise_calibrated_transfer"], r["blind_calibrated_transfer"]) for r in rows]
    gap = paired_interval([r["calibrated_transfer"] for r in rows], donor)
    run.claim(
        f"{prefix}best/from_donor",
        interval=gap,
        unit="points",
        kind="difference",
        null=0.0,
        better="higher",
        title=f"{lead}Of that, what the donor knows",
        null_is="no more than from noise or from a donor that never saw the class",
    )
    kept = percent_interval([r["calibrated_preservation"] for r in rows])
    run.claim(
        f"{prefix}best/preservation", interval=kept, title=f"{lead}Old classes that are kept with it", **share
    )
    return say_best(prefix, name, asks, rows, rivals, gap)


def list_rivals(rows: Results) -> dict[str, float]:
    """What a graft stands beside: its own pipeline without the donor's knowledge, and no graft at all."""
    columns = {
        "noise in the donor's place": "noise_calibrated_transfer",
        "a donor that never saw the class": "blind_calibrated_transfer",
        "novelty alone, no donor": "null_transfer",
    }
    return {name: percent_interval([r[column] for r in rows]).value for name, column in columns.items()}


def _over_seeds_or_images(per_seed: Results, values: list[float]) -> tuple[Interval, str]:
    """Over seeds where there are enough; of a single couple over its held-out images of the new class."""
    if len(values) > 1:
        return percent_interval(
            values
        ), f"the method of each seed was chosen on the others; {len(values)} seeds"
    n = per_seed[0]["n_new_images"]
    low, high = exact_share(round(values[0] * n / 100), n)
    how = "one couple, chosen and scored on the same images; the interval is over these images"
    return Interval(values[0], 100 * low, 100 * high, n), how


def say_best(
    prefix: str, name: str, asks: str, rows: Results, rivals: dict[str, float], gap: Interval
) -> str:
    """What was asked, its strongest rival, and whether the donor is behind it."""
    strongest = max(rivals, key=lambda key: rivals[key])
    used = Counter(r["method"] for r in rows)
    which = " or ".join(f"'{method}'" for method, _ in used.most_common(2))
    best = f"{prefix}best/transfer"
    first = (
        f"For the networks '{name}', {ASKED[asks]} ({which}) recognizes {cite(best)} of the new class at equal false alarms and keeps "
        f"{cite(f'{prefix}best/preservation')} of the old ones; its strongest rival, {strongest}, {cite(best, 'null')}."
    )
    if gap.low is None:
        few = "One seed is an example" if len(rows) == 1 else "So few seeds are examples"
        return f"{first} {few}: whether this comes from the donor is not decided."
    words = "comes from the donor" if gap.low > 0 else "is not shown to come from the donor"
    return f"{first} It {words}: {cite(f'{prefix}best/from_donor')} beyond noise and a donor that never saw the class."
