"""Families of known descent, traced: which edges are found, which way round, under which name, and how many are false."""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from digsite.base.intervals import wilson
from digsite.figures import bars
from digsite.read.config import FamiliesConfig
from digsite.read.judge.lineage import Lineage, trace_lineage
from digsite.read.judge.relation import RELATED, relate_networks
from digsite.read.subjects.families import Family, make_families
from digsite.read.subjects.family_recipes import PLANS, build_recipe
from digsite.read.subjects.network import Network, network_of
from digsite.worker.run import Run

_NO_DIRECTION = {"permuted copy"}  # either of two such may be the original
_GUESSED_KIND = 1 / 11  # eleven kinds


def families(config: FamiliesConfig, run: Run) -> None:
    """Make the families of each recipe, trace each as one folder, and compare with how they were made."""
    rows: list[dict[str, Any]] = []
    false: list[dict[str, Any]] = []
    run.stage("recipes", len(config.recipes))
    for number, name in enumerate(config.recipes):
        made = make_families(build_recipe(name, config.families, config.share), config.seed)
        for i, family in enumerate(made):
            rows += judge_family(name, i, family)
        false += relate_strangers(name, made)
        run.breathe(number + 1)
    edges, pairs = pd.DataFrame(rows), pd.DataFrame(false)
    run.table("edges", edges)
    run.table("strangers", pairs)
    run.table(
        "kinds", edges.groupby("kind")[["found", "directed", "named"]].agg(["mean", "size"]).reset_index()
    )
    _conclude(edges, pairs, config, run)


def judge_family(recipe: str, number: int, family: Family) -> list[dict[str, Any]]:
    """One row for each true edge: found at all, from the right parent, under the right name."""
    names = list(family.members)
    traced = trace_lineage([network_of(n, family.members[n]) for n in names])
    return compare_edges(recipe, number, family, names, traced)


def compare_edges(
    recipe: str, number: int, family: Family, names: list[str], traced: Lineage
) -> list[dict[str, Any]]:
    """An edge between the right two is found; it is directed if the parent is the true one, named if the kind is."""
    edges = {(names[e.parent], names[e.child]): e for e in traced.edges}
    out = []
    for link in family.links:
        ahead, back = edges.get((link.parent, link.child)), edges.get((link.child, link.parent))
        either = ahead or back
        out.append({
            "recipe": recipe, "family": number, "parent": link.parent, "child": link.child, "kind": link.kind,
            "degree": link.degree, "found": either is not None,
            "directed": ahead is not None or (back is not None and link.kind in _NO_DIRECTION),
            "named": either is not None and either.kind == link.kind, "said": either.kind if either else "",
            "probability": ahead.direction if ahead else 1 - back.direction if back else np.nan,
        })  # fmt: skip
    return out


def relate_strangers(recipe: str, made: list[Family]) -> list[dict[str, Any]]:
    """Roots and strangers of all families of one recipe: trained apart, so every relation among them is false."""
    networks: list[Network] = [
        network_of(f"{i}/{n}", f.members[n]) for i, f in enumerate(made) for n in ("root", "stranger")
    ]
    found = [relate_networks(a, b) for a, b in combinations(networks, 2)]
    return [{"recipe": recipe, "p": r.p, "how": r.how} for r in found]


def _conclude(edges: pd.DataFrame, pairs: pd.DataFrame, config: FamiliesConfig, run: Run) -> None:
    chance = 1 / (len(set(edges["child"])) + 1)
    for column, null, what in (
        ("found", chance, "an edge between the right two; null: a parent drawn from the folder"),
        ("directed", chance / 2, "from the true parent to the child; null: drawn, and turned by a coin"),
        ("named", _GUESSED_KIND, "under the kind that it was made by; null: one of eleven"),
    ):
        _claim_share(f"edges/{column}", edges[column].to_numpy(), null, what, run)
    rate = (pairs["p"] < RELATED).to_numpy()
    _claim_share(
        "strangers/false_edges", rate, RELATED, "pairs of one recipe trained apart, at the stated 5 %", run
    )
    shares = {str(k): float(v) for k, v in edges.groupby("kind")["named"].mean().items()}  # pyright: ignore[reportArgumentType]
    for kind, rows in edges.groupby("kind"):
        _claim_share(
            f"kinds/{kind}/directed", rows["directed"].to_numpy(), chance / 2, "edges of this kind", run
        )
    run.figure(
        "kinds", bars(shares, y="edges under their true name", nulls=dict.fromkeys(shares, _GUESSED_KIND), null_label="one of eleven"),
        edges, caption="How often each operation is recognized from the weights of parent and child.",
    )  # fmt: skip
    seen = [n for n in config.recipes if PLANS[n].grown_on]
    told = f" The rules were grown on {', '.join(seen)}, so that part is no test." if seen else ""
    run.verdict(
        f"Of {len(edges)} edges of {len(config.recipes) * config.families} families that were made, {edges['directed'].mean():.0%} are found in the "
        f"right direction and {edges['named'].mean():.0%} under their name; of {len(pairs)} pairs trained apart {rate.mean():.1%} are called "
        f"related at the stated 5 %.{told}",
        on=["edges/*", "strangers/*"],
    )


def _claim_share(name: str, hits: np.ndarray, null: float, note: str, run: Run) -> None:
    count, n = int(np.sum(hits)), len(hits)
    low, high = wilson(count, n)
    run.claim(name, count / n, low=low, high=high, n=n, null=null, note=note)
