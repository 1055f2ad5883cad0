"""Several runs: up to eight beside each other, and sweeps with their settings ranked by a claim."""

import re
from dataclasses import dataclass
from itertools import combinations
from typing import Any
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from digsite.record.layout import RunDir
from digsite.record.sweeps import Sweep, sweeps_in
from digsite.report.comparison import SEEDS, SIDE_BY_SIDE, Comparison, Group, compare_facts
from digsite.report.facts import Facts, gather_facts
from digsite.report.page import render_report
from digsite.report.plots import HeatMap, draw_heat, draw_scatter, list_forests, list_settings, thin_series
from digsite.serve import places
from digsite.serve.live import journal_columns
from digsite.serve.pages.run import PAPER
from digsite.serve.site import Site, answer_json, site_of
from digsite.serve.views.matrix import list_pairs

RUNS = 400  # what a page looks at; the table says when there are more
STATES = ("finished", "running", "planned", "failed", "interrupted", "killed")


def show_sweeps(request: Request) -> Response:
    here = site_of(request)
    sweeps = [
        {
            "name": s.name,
            "counts": _state_counts(s),
            "varied": s.varied_paths(),
            "studies": _member_studies(s),
        }
        for s in _visible_sweeps(here)
    ]
    return here.page("sweeps.html", sweeps=sweeps, states=STATES, here="sweeps")


def show_sweep(request: Request) -> Response:
    here, sweep = site_of(request), _named_sweep(request)
    facts = _member_facts(here, sweep)
    compared = compare_facts(facts)
    name = request.query_params.get("claim", "")
    claim = name if name in compared.claims else next(iter(compared.claims), "")
    up = request.query_params.get("up") == "1"
    varied = [path for path in sweep.varied_paths() if path in compared.differing]
    axes = _choose_axes(request, compared, varied or list_settings(facts))
    return here.page(
        "sweep.html",
        axes=axes,
        plot=draw_scatter(facts, axes.x, axes.y, axes.by) if axes.names else None,
        heat=_choose_heat(request, facts, axes),
        sweep=sweep,
        title=_title_of(sweep),
        counts=_state_counts(sweep),
        compared=compared,
        claim=claim,
        up=up,
        here="sweeps",
        groups=rank_groups(compared.groups, claim, up),
        total=len(sweep.members) + sweep.damaged,
        states=STATES,
    )


def send_sweep(request: Request) -> Response:
    """What the parallel coordinates draw: one line per run through its settings and claims."""
    here, sweep = site_of(request), _named_sweep(request)
    varied, lines = sweep.varied_paths(), []
    points = {f"{m.run.path.parent.name}/{m.run.id}": m.point for m in sweep.members}
    for run in _member_facts(here, sweep):
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
    return answer_json(
        {"name": sweep.name, "settings": varied, "counts": _state_counts(sweep), "runs": lines}
    )


def rank_groups(groups: tuple[Group, ...], claim: str, up: bool) -> list[Group]:
    """Best first: the greatest mean, or the least when `up`; settings without the claim come last."""

    def place(group: Group) -> tuple[bool, float]:
        value = group.claims[claim].value if claim in group.claims else None
        return value is None, (value or 0.0) * (1 if up else -1)

    return sorted(groups, key=place)


def _visible_sweeps(here: Site) -> list[Sweep]:
    if (here.root / ".sweeps").is_symlink():
        return []
    return [
        s
        for s in sweeps_in(here.root)
        if not s.folder.is_symlink() and not (s.folder / "plan.jsonl").is_symlink()
    ]


def _title_of(sweep: Sweep) -> str:
    """What a sweep varies of which studies; a name that a person gave it stands before, a hash says nothing."""
    about = ", ".join(map(str, _member_studies(sweep)))
    varied = ", ".join(sweep.varied_paths())
    text = f"{about} over {varied}" if varied else about
    return text if re.fullmatch(r"[0-9a-f]{10}", sweep.name) or not about else f"{sweep.name}: {text}"


def _named_sweep(request: Request) -> Sweep:
    for sweep in _visible_sweeps(site_of(request)):
        if sweep.name == request.path_params["name"]:
            return sweep
    raise HTTPException(404, "There is no such sweep.")


def _member_facts(here: Site, sweep: Sweep) -> list[Facts]:
    """Members that are there; a plan may name folders that were removed, and never leads out of the runs folder."""
    facts = []
    for member in sweep.members[:RUNS]:
        study, _, run_id = str(member.run.path.relative_to(sweep.root)).partition("/")
        try:
            facts.append(gather_facts(places.find_run_folder(here.root, study, run_id)))
        except HTTPException:
            continue
    return facts


def _state_counts(sweep: Sweep) -> dict[str, int]:
    return dict(sweep.counts())


def _member_studies(sweep: Sweep) -> list[Any]:
    return list(dict.fromkeys(member.study for member in sweep.members))


routes = [
    Route("/sweeps", show_sweeps),
    Route("/sweeps/{name}", show_sweep),
    Route("/api/sweeps/{name}", send_sweep),
]


# Axes that a reader chooses; they stand in the address, so that a picture can be sent as a link.

LINES = 9  # axes of the parallel coordinates that can be read beside each other
NAMES = 200  # settings and claims that a menu offers


@dataclass(frozen=True)
class Axes:
    """What can be drawn and what is: names of settings that differ and of claims, and the rest of the address."""

    settings: tuple[str, ...]
    claims: tuple[str, ...]
    x: str
    y: str
    by: str
    lines: tuple[str, ...]
    asked: tuple[tuple[str, str], ...]

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.settings, *self.claims) if self.claims else ()

    @property
    def kept(self) -> list[tuple[str, str]]:
        return self._beside("x", "y", "by")

    @property
    def kept_beside_lines(self) -> list[tuple[str, str]]:
        return self._beside("axis")

    @property
    def kept_beside_heat(self) -> list[tuple[str, str]]:
        return self._beside("across", "down", "shade")

    @property
    def kept_beside_best(self) -> list[tuple[str, str]]:
        return self._beside("claim", "up")

    def _beside(self, *names: str) -> list[tuple[str, str]]:
        """What a form carries along: everything in the address but its own fields."""
        return [pair for pair in self.asked if pair[0] not in names]


def _choose_axes(request: Request, compared: Comparison, varied: list[str]) -> Axes:
    """What the address asks for; senseless names fall back to the first setting and the first claim."""
    params = request.query_params
    settings = tuple(varied[:NAMES])
    claims = tuple([*compared.backed, *compared.only_measured][:NAMES])
    known = (*settings, *claims)

    def chosen(key: str, default: str) -> str:
        return params[key] if params.get(key) in known else default

    changed = [path for path in settings if path not in SEEDS]
    first = next(iter((*changed, *settings, *claims[1:], *claims)), "")
    asked = [name for name in params.getlist("axis") if name in known][:NAMES]
    return Axes(
        settings,
        claims,
        x=chosen("x", first),
        y=chosen("y", _first_that_differs(compared, claims)),
        by=chosen("by", "") if params.get("by") in settings else "",
        lines=tuple(asked or [*settings, *claims][:LINES]),
        asked=tuple(params.multi_items()),
    )


def _first_that_differs(compared: Comparison, claims: tuple[str, ...]) -> str:
    """A claim that is not the same in every run: a picture of equal numbers tells nothing. The first where all are equal."""
    for name in claims:
        values = {row.value for row in compared.claims[name] if row}
        if len(values) > 1:
            return name
    return next(iter(claims), "")


def _choose_heat(request: Request, facts: list[Facts], axes: Axes) -> HeatMap | None:
    """The claim over two different settings; nothing where fewer than two were varied."""
    params = request.query_params
    varied = [p for p in axes.settings if p not in SEEDS]
    two = [*varied, *(p for p in axes.settings if p in SEEDS)][:2]
    across, down = params.get("across", ""), params.get("down", "")
    if across in axes.settings and down in axes.settings and across != down:
        two = [across, down]
    if len(two) < 2 or not axes.claims:
        return None
    claim = params["shade"] if params.get("shade") in axes.claims else axes.claims[0]
    return draw_heat(facts, two[0], two[1], claim)


POINTS = 600


def show_comparison(request: Request) -> Response:
    runs = _chosen_runs(request)
    here = site_of(request)
    if not runs:
        return here.page(
            "error.html", 400, code="compare", message="Tick the runs to compare in the list of runs."
        )
    facts = [gather_facts(run) for run in runs]
    compared = compare_facts(facts)
    axes = _choose_axes(request, compared, list_settings(facts))
    return here.page(
        "compare.html",
        compared=compared,
        forests=list_forests(compared),
        axes=axes,
        plot=draw_scatter(facts, axes.x, axes.y, axes.by) if axes.names else None,
        masks=_choose_masks(request, compared),
        measured=any(run.journal.is_file() and run.journal.stat().st_size for run in runs),
        here="runs",
        query=urlencode([("run", f.name) for f in facts]),
    )


@dataclass(frozen=True)
class MaskPair:
    """Two of the compared runs whose masks lie beside each other, and which of their masks."""

    left: str
    right: str
    name: str
    names: tuple[str, ...]  # what else these two have in common
    runs: tuple[str, ...]
    kept: tuple[tuple[str, str], ...]


def _choose_masks(request: Request, compared: Comparison) -> MaskPair | None:
    """The runs and masks that the address names, or the first two runs that have masks of one shape."""
    params, runs = request.query_params, {facts.name: facts.run for facts in compared.runs}
    asked = (params.get("left", ""), params.get("right", ""))
    for left, right in [asked, *combinations(runs, 2)]:
        if left == right or not {left, right} <= runs.keys():
            continue
        if pairs := list_pairs(runs[left], runs[right], (left, right)):
            names = tuple(dict.fromkeys(pair.name for pair in pairs))
            name = params["mask"] if params.get("mask") in names else names[0]
            kept = tuple(p for p in params.multi_items() if p[0] not in ("left", "right", "mask"))
            return MaskPair(left, right, name, names, tuple(runs), kept)
    return None


def report_comparison(request: Request) -> Response:
    runs = _chosen_runs(request)
    if not runs:
        raise HTTPException(400)
    return HTMLResponse(render_report(runs), headers={"content-security-policy": PAPER})


def send_curves(request: Request) -> Response:
    """Every metric of every run, thinned; runs that differ in nothing but the seed have the same group."""
    runs = _chosen_runs(request)
    compared = compare_facts([gather_facts(run) for run in runs])
    group = {run.name: i for i, same in enumerate(compared.groups) for run in same.members}
    columns: dict[str, list] = {}
    for index, run in enumerate(compared.runs):
        for name, (x, y) in journal_columns(run.run.journal).items():
            steps, values = thin_series(x, y, POINTS)
            line = {
                "run": run.name,
                "label": compared.labels[index],
                "index": index,
                "group": group[run.name],
                "x": steps,
                "y": values,
            }
            columns.setdefault(name, []).append(line)
    return answer_json({"runs": [run.name for run in compared.runs], "metrics": columns})


def _chosen_runs(request: Request) -> list[RunDir]:
    names = list(dict.fromkeys(request.query_params.getlist("run")))
    if len(names) > SIDE_BY_SIDE:
        raise HTTPException(400, f"At most {SIDE_BY_SIDE} runs can be compared; these are {len(names)}.")
    parts = [name.partition("/") for name in names]
    return [places.find_run_folder(site_of(request).root, study, run_id) for study, _, run_id in parts]


routes += [
    Route("/compare", show_comparison),
    Route("/compare/report", report_comparison),
    Route("/api/compare", send_curves),
]
