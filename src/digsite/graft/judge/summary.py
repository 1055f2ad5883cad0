"""Over the seeds: the ledger table, the chosen grid entries, and two sentences that follow from the numbers."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from digsite.graft.core.metrics import interval

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
    "null_transfer",
    "gain",
    "from_donor",
    "collateral",
    "added_parameters",
    "bytes_crossed",
    "cpu_s",
)
BOUNDS = ("transfer", "preservation", "calibrated_transfer", "from_donor")
SLACK = 3.0  # points of preservation that a setting may cost and still be chosen
TOLERANCE = 5.0  # points of preservation that a method may cost and still be named best
Results = list[dict[str, Any]]


def groups(frame: pd.DataFrame, *keys: str) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    """Parts of a table by its keys, in the order of their first rows."""
    for key, part in frame.groupby(list(keys), sort=False):
        yield (key if isinstance(key, tuple) else (key,)), pd.DataFrame(part)


def choices(validated: list[list[dict[str, Any]]]) -> dict[str, str]:
    """Grid to the setting with the best transfer on the validation split, mean over couples.

    One that failed anywhere is out, and so is one that keeps less of the old classes than the best keeper minus `SLACK`.
    """
    frame = pd.DataFrame([line for lines in validated for line in lines])
    if frame.empty:
        return {}
    out: dict[str, str] = {}
    for (grid,), part in groups(frame, "grid"):
        means = {
            text: (float(np.mean(one["transfer"].to_numpy())), float(np.mean(one["preservation"].to_numpy())))
            for (text,), one in groups(part, "text")
        }
        whole = {text: pair for text, pair in means.items() if np.isfinite(pair).all()}
        floor = max((kept for _, kept in whole.values()), default=0.0) - SLACK
        good = {text: moved for text, (moved, kept) in whole.items() if kept >= floor}
        if good:
            out[grid] = max(good, key=lambda text: good[text])
    return out


def ledger_table(per_seed: Results) -> pd.DataFrame:
    """One line per method: means over seeds, intervals of the main columns."""
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
            "seeds": len(rows),
        }
        for key in MEANS:
            at = interval([r[key] for r in rows])
            line[key] = at.mean
            if key in BOUNDS:
                line[f"{key}_low"], line[f"{key}_high"], line[f"{key}_sd"] = at.low, at.high, at.sd
        lines.append(line)
    return pd.DataFrame(lines)


def mean_matrix(counts: list[Any]) -> np.ndarray:
    """Mean confusion in percent of each true class; classes without images stay empty."""
    total = np.stack([np.asarray(one, dtype=float) for one in counts]).mean(0)
    size = total.sum(1, keepdims=True)
    return np.where(size > 0, 100 * total / np.where(size > 0, size, 1), np.nan)


def best_blind(table: pd.DataFrame, per_seed: Results) -> dict[str, Any] | None:
    """The ledger's line of the method that transfers most without a new-class image and keeps the old classes."""
    kept = np.mean([d["receiver_preservation"] for d in per_seed]) - TOLERANCE
    blind = ~table["budget"].str.contains("[bkFt]") & (table["bytes_crossed"] > 64)
    free = pd.DataFrame(table[blind & (table["calibrated_preservation"] >= kept)])
    return None if free.empty else free.sort_values("calibrated_transfer").to_dict("records")[-1]


def verdict(name: str, best: dict[str, Any] | None, per_seed: Results) -> str:
    """That method, and whether what it moved came from the donor."""
    if best is None:
        return f"{name}: no method without images of the new class kept the old ones."
    if len(per_seed) < 2:
        origin = "has one seed only and is an example"
    else:
        origin = (
            "comes from the donor" if best["from_donor_low"] > 0 else "is not shown to come from the donor"
        )
    return (
        f"{name}: without one image of the new class '{best['method']}' (budget {best['budget']}) reaches "
        f"{best['transfer']:.1f} % raw and {best['calibrated_transfer']:.1f} % calibrated transfer at "
        f"{best['calibrated_preservation']:.1f} % preservation over {len(per_seed)} seed{'s' * (len(per_seed) > 1)}, "
        f"the null {best['null_transfer']:.1f} %; "
        f"with noise in the donor's place it reaches {best['noise_calibrated_transfer']:.1f} %, so the result {origin}."
    )
