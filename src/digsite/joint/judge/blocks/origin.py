"""Where does it come from: its relatives in a folder, each with a p-value, what was done, and in which direction."""

from digsite.base.errors import DigsiteError
from digsite.joint.core.statements import Allowance, Answer, Statement, skip
from digsite.joint.subjects.model import LARGE, Subject
from digsite.read.judge.edge_kinds import judge_edge
from digsite.read.judge.relation import RELATED, relate_networks
from digsite.read.subjects.network import network_of, read_networks

ORDER, QUESTION, WEIGHT = 3, "Where does it come from?", 2.0
DEEPER = "digsite read FOLDER --lineage"


def examine(subject: Subject, allowance: Allowance) -> Answer:
    """The model beside every network of the folder; those related at the level, corrected for how many were asked."""
    from pathlib import Path

    if not subject.relatives:
        return skip("no folder of possible relatives was named (--relatives DIR)")
    if subject.size > LARGE:
        return skip(f"it has {subject.size:,} parameters, and whole networks are compared up to {LARGE:,}")
    own = network_of("it", dict(subject.tensors()), subject.config)
    others = read_networks(Path(subject.relatives).expanduser()).networks
    rows, left_out = [], 0
    for other in others:
        if allowance.is_used and rows:
            left_out += 1
            continue
        rows.append(_relate(own, other, len(others)))
    related = sorted((row for row in rows if row["related"]), key=lambda row: row["distance"])
    skipped = f"{left_out} of {len(others)} networks for lack of time" if left_out else ""
    return Answer((_say(related, rows),), skipped, {"relatives": rows})


def _relate(own, other, count: int) -> dict:
    try:
        relation = relate_networks(own, other)
        p = min(1.0, relation.p * count)
        is_related = relation.related and p < RELATED
        judged = judge_edge(other, own, relation) if is_related else None
    except DigsiteError as error:
        return {
            "network": other.name,
            "related": False,
            "p": 1.0,
            "distance": float("nan"),
            "kind": "",
            "reason": str(error),
        }
    return {
        "network": other.name,
        "related": is_related,
        "p": p,
        "distance": relation.distance,
        "kind": getattr(judged, "kind", ""),
        "reason": relation.reason,
    }


def _say(related: list[dict], rows: list[dict]) -> Statement:
    beside = f"networks of its shape that were trained apart, corrected for {len(rows)} comparisons"
    if not related:
        p = min((row["p"] for row in rows), default=1.0)
        return Statement(
            "relatives",
            "networks related to it",
            f"None of {len(rows)} networks is related to it.",
            beside,
            0.0,
            null=0.0,
            p=p,
            n=len(rows),
            quote=True,
        )
    first = related[0]
    what = f" ({first['kind']})" if first["kind"] else ""
    return Statement(
        "relatives",
        "networks related to it",
        f"{len(related)} of {len(rows)} networks are related to it, nearest '{first['network']}'{what} at a distance of {first['distance']:.2g}.",
        beside,
        float(len(related)),
        null=0.0,
        p=first["p"],
        n=len(rows),
        quote=True,
    )
