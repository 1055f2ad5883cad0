"""Networks that compose group elements: which irreps they use, read from the output weights, and do they generalize."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from digsite.base import settings
from digsite.base.errors import NotFound
from digsite.base.intervals import FEWEST
from digsite.data import irreps as ir
from digsite.figures import bars, scatter
from digsite.read.config import GroupZooConfig
from digsite.read.core.metrics import measure_auroc
from digsite.record.verdict import cite
from digsite.worker.run import Run

_FEATURES = ("in_out", "left_right", "concentration_in", "concentration_out", "log_norm_in", "log_norm_out")


@dataclass(frozen=True)
class GroupFile:
    """The networks of one file."""

    file: str
    arrays: dict[str, np.ndarray]
    labels: list[dict[str, Any]]


def study_group_zoo(config: GroupZooConfig, run: Run) -> None:
    """Irreps read from output weights, network by network, and whether narrow networks generalize."""
    rows, generalizing = [], []
    families = _load_group_files(config)
    run.stage("networks", len(families))
    for i, family in enumerate(families):
        used, described = _read_group_file(family, config, run)
        rows += used
        generalizing += described
        run.let_signals_in(i + 1)
    table, networks = pd.DataFrame(rows), pd.DataFrame(generalizing)
    run.table("irreps", table)
    run.table("networks", networks)
    _claim_irreps(table, run)
    scored = _claim_generalization(networks, config, run)
    run.claim("networks", len(networks), kind="count", title="Networks of the collection")
    run.headline(["irreps/accuracy", "irreps/auroc", "generalizes/auroc"], hero="irreps")
    text = (
        f"Read from the output weights alone, {cite('irreps/accuracy', style='.1%')} of the irreps of {cite('networks')} "
        f"networks are told rightly as used or unused (shuffled group tables: "
        f"{cite('irreps/accuracy', 'shuffled group tables', '.1%')}, always the commoner answer: "
        f"{cite('irreps/accuracy', 'always the commoner answer', '.1%')})."
    )
    narrow = (
        f" Whether a narrow S5 network generalizes is read with AUROC {cite('generalizes/auroc', style='.2f')}, where its "
        f"width alone gives {cite('generalizes/auroc', 'hidden width alone', '.2f')}."
        if scored
        else " There are too few narrow S5 networks of both kinds to ask whether they generalize."
    )
    run.verdict(text + narrow)


def _load_group_files(config: GroupZooConfig) -> list[GroupFile]:
    """Every file of the collection with its labels; a NotFound that says which variable to set where it is missing."""
    folder = (settings.data_dir() or Path("data")) / config.folder
    if not (folder / "labels.json").is_file():
        raise NotFound(
            f"There is no group zoo at '{folder}'.", hint="Set DIGSITE_DATA to the folder that holds it."
        )
    labels = json.loads((folder / "labels.json").read_text())
    families = []
    for file in sorted({entry["file"] for entry in labels}):
        entries = sorted((e for e in labels if e["file"] == file), key=lambda e: e["index"])
        with np.load(folder / file, allow_pickle=False) as stored:
            arrays = {k: stored[k] for k in stored.files}
        families.append(GroupFile(file, arrays, entries[:1] if config.networks == "first" else entries))
    return families


def _known_characters(family: GroupFile) -> dict[str, np.ndarray]:
    """By which computed irreps get their names."""
    group, order = family.labels[0]["group"], len(family.arrays["mult_table"])
    if group == "S5":
        return ir.symmetric_characters(family.arrays["permutations"].astype(int))
    return ir.cyclic_characters(order) if group.startswith("C") else ir.dihedral_characters(order // 2)


def _read_group_file(
    family: GroupFile, config: GroupZooConfig, run: Run
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of all networks of one group."""
    table = family.arrays["mult_table"].astype(int)
    group = ir.split_regular(table, config.seed)
    names = ir.names_by_character(group, table, _known_characters(family))
    used, described = [], []
    for entry in family.labels:
        x, y, out = _hidden_sides(family, entry["index"])
        shares_x, shares_y, shares_out = (ir.measure_shares(m, group) for m in (x, y, out))
        null = _shuffled_shares(out, group, config, run)
        own = ir.centered_shares(out, group)
        network = f"{family.file.removesuffix('.npz')}/{entry['seed']}"
        for i, name in enumerate(names):
            stated = float(entry["summary"][f"percent_x_embed_{name}_rep"])
            used.append(
                {
                    "network": network,
                    "group": entry["group"],
                    "irrep": name,
                    "stated": stated,
                    "computed": shares_x[i],
                    "output": own[i],
                    "used": stated > config.share,
                    "read": own[i] > config.share,
                    "null_read": float((null[:, i] > config.share).mean()),
                }
            )
        described.append(_describe_group_network(network, entry, shares_x, shares_y, shares_out, x, out))
    return used, described


def _hidden_sides(family: GroupFile, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the hidden layer receives for each left and right element, and what each output reads: (n, hidden)."""
    a = {k: family.arrays[k][index].astype(np.float64) for k in ("W_x", "W_y", "W", "W_U")}
    e = a["W_x"].shape[1]
    return a["W_x"] @ a["W"][:e], a["W_y"] @ a["W"][e:], a["W_U"].T


def _shuffled_shares(out: np.ndarray, group: ir.Irreps, config: GroupZooConfig, run: Run) -> np.ndarray:
    """Shares when the elements' names are shuffled: what the sizes of the subspaces give by themselves."""
    rng = run.rng("shuffled-elements")
    return np.stack(
        [ir.centered_shares(out[rng.permutation(len(out))], group) for _ in range(config.shuffles)]
    )


def _describe_group_network(
    network: str,
    entry: dict[str, Any],
    x: np.ndarray,
    y: np.ndarray,
    out: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
) -> dict[str, Any]:
    """What one network uses, as stated and as computed here."""

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.sqrt((a @ a) * (b @ b)))

    return {
        "network": network,
        "group": entry["group"],
        "hidden": entry["hidden_dim"],
        "test_accuracy": float(entry["summary"]["test_acc"]),
        "in_out": cosine(x, out),
        "left_right": cosine(x, y),
        "concentration_in": float((x**2).sum()),
        "concentration_out": float((out**2).sum()),
        "log_norm_in": float(np.log(np.linalg.norm(left))),
        "log_norm_out": float(np.log(np.linalg.norm(right))),
    }


def _claim_irreps(table: Any, run: Run) -> None:
    """That our shares are those of the source."""
    gap = float((table["stated"] - table["computed"]).abs().max())
    run.claim(
        "input_shares/largest_difference_to_source",
        gap,
        null=0.0,
        null_is="the source's own percentages",
        title="Largest difference to the percentages published with the networks",
        better="lower",
    )
    hit, used = table["used"] == table["read"], table["used"]
    null = np.where(used, table["null_read"], 1 - table["null_read"])
    majority = table.groupby(["group", "irrep"])["used"].transform(lambda u: max(u.mean(), 1 - u.mean()))
    for (group, name), rows in table[table["group"] == "S5"].groupby(["group", "irrep"]):
        at = rows.index
        run.claim(
            f"{group}/{name}/accuracy",
            float(hit[at].mean()),
            n=len(at),
            null=float(majority[at].mean()),
            kind="share",
            null_is="always the commoner answer",
            title=f"Networks read rightly on irrep {name} of {group}",
        )
    rivals = {
        "shuffled group tables": float(null.mean()),
        "always the commoner answer": float(majority.mean()),
    }
    _claim_overall(table, rivals, run)


def _claim_overall(table: Any, rivals: dict[str, float], run: Run) -> None:
    """Over all irreps and networks, with intervals over networks."""
    rng, n = run.rng("irreps"), table["network"].nunique()
    hits = lambda rows: float((rows["used"] == rows["read"]).mean())  # noqa: E731
    low, high = _over_networks(table, hits, rng)
    about = {"low": low, "high": high, "n": n, "better": "higher", "note": "bootstrap over networks"}
    title = "Irreps told rightly as used or unused"
    run.claim("irreps/accuracy", hits(table), rivals=rivals, kind="share", title=title, **about)
    area = lambda rows: measure_auroc(np.asarray(rows["used"]), np.asarray(rows["output"]))  # noqa: E731
    low, high = _over_networks(table, area, rng)
    about |= {"low": low, "high": high, "null": 0.5, "null_is": "guessing"}
    title = "Telling used from unused irreps (AUROC)"
    run.claim("irreps/auroc", area(table), kind="correlation", title=title, **about)
    figure = scatter(
        {g: (rows["stated"], rows["output"]) for g, rows in table.groupby("group")},
        x="share in the input weights (stated)",
        y="share in the output weights",
        diagonal=True,
    )
    run.figure(
        "irreps", figure, table, caption="Input and output weights agree on the irreps that a network uses."
    )


def _over_networks(
    table: Any, value: Callable[[Any], float], rng: np.random.Generator
) -> tuple[float | None, float | None]:
    """95 % bootstrap interval with whole networks drawn anew: irreps of one network are not independent."""
    parts = [rows for _, rows in table.groupby("network", sort=False)]
    if len(parts) < FEWEST:
        return None, None
    drawn = [
        value(pd.concat([parts[i] for i in rng.integers(len(parts), size=len(parts))])) for _ in range(200)
    ]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _claim_generalization(networks: Any, config: GroupZooConfig, run: Run) -> bool:
    """Narrow S5 networks, of which some memorize: leave-one-out, beside what the width alone gives.

    False where there are too few of both kinds: then nothing is claimed and no sentence speaks of it.
    """
    narrow = networks[(networks["group"] == "S5") & (networks["hidden"] < 128)].reset_index(drop=True)
    y = (narrow["test_accuracy"] > 0.5).to_numpy()
    if y.sum() < 2 or (~y).sum() < 2:
        run.say("too few narrow networks of both kinds to score generalization")
        return False
    areas = {
        "weights": measure_auroc(y, _leave_one_out(narrow[list(_FEATURES)].to_numpy(), y)),
        "width": measure_auroc(y, narrow["hidden"].to_numpy(dtype=float)),
        "in_out": measure_auroc(y, narrow["in_out"].to_numpy()),
    }
    rng = run.rng("bootstrap")
    low, high = _resample_area(y, _leave_one_out(narrow[list(_FEATURES)].to_numpy(), y), rng)
    run.claim(
        "generalizes/auroc",
        areas["weights"],
        low=low,
        high=high,
        n=len(y),
        kind="correlation",
        better="higher",
        rivals={"hidden width alone": areas["width"]},
        note="narrow S5 networks, leave-one-out",
        title="Telling networks that generalize from those that memorize (AUROC)",
    )
    low, high = _resample_area(y, narrow["in_out"].to_numpy(), rng)
    run.claim(
        "generalizes/in_out_agreement_auroc",
        areas["in_out"],
        low=low,
        high=high,
        n=len(y),
        null=0.5,
        kind="correlation",
        better="higher",
        null_is="guessing",
        note="one number, nothing learned",
        title="The same from the agreement of input and output weights alone (AUROC)",
    )
    run.figure(
        "generalizes",
        bars(areas, y="AUROC", nulls=dict.fromkeys(areas, 0.5), null_label="chance"),
        caption="Does a narrow S5 network generalize? Read from its weights.",
    )
    return True


def _leave_one_out(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(networks,): each one's score by a logistic regression that was fitted on all others."""
    out = np.zeros(len(y))
    for i in range(len(y)):
        rest = np.arange(len(y)) != i
        center, scale = x[rest].mean(0), x[rest].std(0) + 1e-9
        model = LogisticRegression(C=1.0, max_iter=500).fit((x[rest] - center) / scale, y[rest])
        out[i] = model.decision_function((x[i : i + 1] - center) / scale)[0]
    return out


def _resample_area(y: np.ndarray, score: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """95 % bootstrap interval of the AUROC of `score` for booleans `y`."""
    drawn = [measure_auroc(y[i], score[i]) for i in rng.integers(0, len(y), (400, len(y)))]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(low), float(high)
