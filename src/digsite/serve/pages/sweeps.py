"""Sweeps: how far they are, parallel coordinates over settings and claims, the best settings with intervals."""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from digsite.record.sweeps import Sweep, sweeps_in
from digsite.report.comparison import Group, compare
from digsite.report.facts import Facts, gather
from digsite.serve import places
from digsite.serve.site import Site, json, site

RUNS = 400  # what a page looks at; the table says when there are more
STATES = ("finished", "running", "planned", "failed", "interrupted", "killed")


def page(request: Request) -> Response:
    here = site(request)
    sweeps = [
        {"name": s.name, "counts": _counts(s), "varied": s.varied_paths(), "studies": _studies(s)}
        for s in _all(here)
    ]
    return here.page("sweeps.html", sweeps=sweeps, states=STATES, here="sweeps")


def one(request: Request) -> Response:
    here, sweep = site(request), _sweep(request)
    facts = _facts(here, sweep)
    compared = compare(facts)
    name = request.query_params.get("claim", "")
    claim = name if name in compared.claims else next(iter(compared.claims), "")
    up = request.query_params.get("up") == "1"
    return here.page(
        "sweep.html",
        sweep=sweep,
        counts=_counts(sweep),
        compared=compared,
        claim=claim,
        up=up,
        here="sweeps",
        groups=ranked(compared.groups, claim, up),
        total=len(sweep.members) + sweep.damaged,
        states=STATES,
    )


def api(request: Request) -> Response:
    """What the parallel coordinates draw: one line per run through its settings and claims."""
    here, sweep = site(request), _sweep(request)
    varied, lines = sweep.varied_paths(), []
    points = {f"{m.run.path.parent.name}/{m.run.id}": m.point for m in sweep.members}
    for run in _facts(here, sweep):
        claims = {c.name: c.value for c in run.claims if c.value is not None}
        point = points.get(run.name, {})
        lines.append(
            {
                "run": run.name,
                "state": run.state,
                "settings": {p: point.get(p) for p in varied},
                "claims": claims,
            }
        )
    return json({"name": sweep.name, "settings": varied, "counts": _counts(sweep), "runs": lines})


def ranked(groups: tuple[Group, ...], claim: str, up: bool) -> list[Group]:
    """Best first: the greatest mean, or the least when `up`; settings without the claim come last."""

    def place(group: Group) -> tuple[bool, float]:
        value = group.claims[claim].value if claim in group.claims else None
        return value is None, (value or 0.0) * (1 if up else -1)

    return sorted(groups, key=place)


def _all(here: Site) -> list[Sweep]:
    if (here.root / ".sweeps").is_symlink():
        return []
    return [
        s
        for s in sweeps_in(here.root)
        if not s.folder.is_symlink() and not (s.folder / "plan.jsonl").is_symlink()
    ]


def _sweep(request: Request) -> Sweep:
    for sweep in _all(site(request)):
        if sweep.name == request.path_params["name"]:
            return sweep
    raise HTTPException(404, "There is no such sweep.")


def _facts(here: Site, sweep: Sweep) -> list[Facts]:
    """Members that are there; a plan may name folders that were removed, and never leads out of the runs folder."""
    found = []
    for member in sweep.members[:RUNS]:
        study, _, run_id = str(member.run.path.relative_to(sweep.root)).partition("/")
        try:
            found.append(gather(places.run(here.root, study, run_id)))
        except HTTPException:
            continue
    return found


def _counts(sweep: Sweep) -> dict[str, int]:
    return dict(sweep.counts())


def _studies(sweep: Sweep) -> list[Any]:
    return list(dict.fromkeys(member.study for member in sweep.members))


routes = [Route("/sweeps", page), Route("/sweeps/{name}", one), Route("/api/sweeps/{name}", api)]
