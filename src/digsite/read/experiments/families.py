"""Families of known descent, traced: which edges are found, which way round, under which name, and how many are false."""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from digsite.figures import bars
from digsite.read.config import FamiliesConfig
from digsite.read.judge.lineage import Lineage, trace_networks
from digsite.read.judge.relation import RELATED, relate_networks
from digsite.read.subjects.families import MadeFamily, make_families
from digsite.read.subjects.family_recipes import PLANS, build_recipe
from digsite.read.subjects.network import Network, network_of
from digsite.record.verdict import cite
from digsite.worker.run import Run

_NO_DIRECTION = {"permuted copy"}  # either of two such may be the original
_GUESSED_KIND = 1 / 11  # eleven kinds


def study_families(config: FamiliesConfig, run: Run) -> None:
    """Make the families of each recipe, trace each as one folder, and compare with how they were made."""
    rows: list[dict[str, Any]] = []
    false: list[dict[str, Any]] = []
    run.stage("recipes", len(config.recipes))
    for number, name in enumerate(config.recipes):
        made = make_families(build_recipe(name, config.families, config.share), config.seed)
        for i, family in enumerate(made):
            rows += judge_family(name, i, family)
        false += relate_strangers(name, made)
        run.let_signals_in(number + 1)
    edges, pairs = pd.DataFrame(rows), pd.DataFrame(false)
    run.table("edges", edges)
    run.table("strangers", pairs)
    run.table(
        "kinds", edges.groupby("kind")[["found", "directed", "named"]].agg(["mean", "size"]).reset_index()
    )
    _claim_families(edges, pairs, config, run)


def judge_family(recipe: str, number: int, family: MadeFamily) -> list[dict[str, Any]]:
    """One row for each true edge: found at all, from the right parent, under the right name."""
    names = list(family.members)
    traced = trace_networks([network_of(n, family.members[n]) for n in names])
    return compare_edges(recipe, number, family, names, traced)


def compare_edges(
    recipe: str, number: int, family: MadeFamily, names: list[str], traced: Lineage
) -> list[dict[str, Any]]:
    """An edge between the right two is found; it is directed if the parent is the true one, named if the kind is."""
    edges = {(names[e.parent], names[e.child]): e for e in traced.edges}
    out = []
    for link in family.links:
        ahead, back = edges.get((link.parent, link.child)), edges.get((link.child, link.parent))
        either = ahead or back
        said = either.kind if either else ""
        out.append(
            {
                "recipe": recipe,
                "family": number,
                "parent": link.parent,
                "child": link.child,
                "kind": link.kind,
                "degree": link.degree,
                "found": either is not None,
                "directed": ahead is not None or (back is not None and link.kind in _NO_DIRECTION),
                "named": said == link.kind,
                "said": said,
                "probability": ahead.direction if ahead else 1 - back.direction if back else np.nan,
            }
        )
    return out


def relate_strangers(recipe: str, made: list[MadeFamily]) -> list[dict[str, Any]]:
    """Roots and strangers of all families of one recipe: trained apart, so every relation among them is false."""
    networks: list[Network] = [
        network_of(f"{i}/{n}", f.members[n]) for i, f in enumerate(made) for n in ("root", "stranger")
    ]
    relations = [relate_networks(a, b) for a, b in combinations(networks, 2)]
    return [{"recipe": recipe, "p": r.p, "how": r.how} for r in relations]


def _claim_families(edges: pd.DataFrame, pairs: pd.DataFrame, config: FamiliesConfig, run: Run) -> None:
    """Shares over edges and over pairs of strangers, each beside what guessing gives."""
    chance = 1 / (edges.groupby(["recipe", "family"]).size().mean() + 2)
    for column, null, null_is, title in (
        ("found", chance, "a parent drawn from the folder", "True edges that are found, whichever way round"),
        ("directed", chance / 2, "drawn, and turned by a coin", "True edges found in the right direction"),
        ("named", _GUESSED_KIND, "one of eleven kinds", "True edges found under the name of what was done"),
    ):
        hits = edges[column]
        run.claim_share(
            f"edges/{column}",
            int(hits.sum()),  # pyright: ignore[reportArgumentType]
            len(hits),
            null=null,  # pyright: ignore[reportArgumentType]
            null_is=null_is,
            title=title,
            better="higher",
        )
    wrong = int((pairs["p"] < RELATED).sum())  # pyright: ignore[reportArgumentType]
    run.claim_share(
        "strangers/false_edges",
        wrong,
        len(pairs),
        null=RELATED,
        null_is="the stated level",
        title="Pairs of one recipe, trained apart, that are called related at 5 %",
        better="lower",
    )
    run.claim(
        "families", len(config.recipes) * config.families, kind="count", title="Families that were made"
    )
    _claim_kinds(edges, chance, run)  # pyright: ignore[reportArgumentType]
    run.headline(["edges/directed", "edges/named", "strangers/false_edges"], hero="kinds")
    seen = any(PLANS[n].grown_on for n in config.recipes)
    note = " The rules were grown on one of these recipes, so that part is no test." if seen else ""
    run.verdict(
        f"Of the edges of {cite('families')} families that were made, {cite('edges/directed')} are found in the right direction and "
        f"{cite('edges/named')} under the name of what was done; of pairs trained apart, {cite('strangers/false_edges')} are called "
        f"related, where {cite('strangers/false_edges', 'null')} were allowed.{note}",
        on=["edges/*"],
    )


def _claim_kinds(edges: pd.DataFrame, chance: float, run: Run) -> None:
    """The same kind by kind, and the picture."""
    shares = {str(k): float(v) for k, v in edges.groupby("kind")["named"].mean().items()}  # pyright: ignore[reportArgumentType]
    for kind, rows in edges.groupby("kind"):
        run.claim_share(
            f"kinds/{kind}/directed",
            int(rows["directed"].sum()),  # pyright: ignore[reportArgumentType]
            len(rows),
            null=chance / 2,
            null_is="drawn, and turned by a coin",
            title=f"Edges of kind '{kind}' in the right direction",
            better="higher",
        )
    drawn = bars(
        shares,
        y="edges under their true name",
        nulls=dict.fromkeys(shares, _GUESSED_KIND),
        null_label="one of eleven",
    )
    run.figure(
        "kinds",
        drawn,
        edges,
        caption="How often each operation is recognized from the weights of parent and child.",
    )
