"""A damaged record of one run costs its own section: every verb and page says so in a sentence, and the list is up."""

import shutil
import zlib

import pytest
from attack_damage import cases, undo

from digsite.base import families

RECORDS = {
    "launch.yaml": "yaml",
    "status.json": "json",
    "results.json": "json",
    "provenance.json": "json",
    "error.json": "json",
    "views.json": "json",
    "metrics.jsonl": "lines",
    "clock.jsonl": "lines",
    "figures/order.json": "json",
    "tables/overlaps.csv": "bytes",
    "run.log": "bytes",
    ".lock": "bytes",
    "artifacts/spectra.safetensors": "bytes",
}
SHARE = 9  # of all cases the fast tests take one in so many
FEW = [("show", "{run}", "--json"), ("show", "{run}"), ("report", "{run}", "--out", "{out}")]
VERBS = [("ls",), ("ls", "--json"), *FEW]


def chosen(kind: str, content: bytes, name: str, every: int):
    """The cases of one record; which of them are taken depends on its name alone."""
    seed = zlib.crc32(name.encode())
    return cases(kind, content, seed)[seed % every :: every]


def attack(house, call, visit, name: str, every: int) -> int:
    """Spoil one record in each way, read it with everything that reads, and put it back; returns the cases tried."""
    root, _, (bad, good) = house
    path = bad.path / name
    content = path.read_bytes()
    problems, tried = [], 0
    for damage in chosen(RECORDS[name], content, name, every):
        damage.apply(path)
        tried += 1
        problems += [
            f"{name} {damage.name}: {said}" for said in _read_with_everything(root, bad, good, call, visit)
        ]
        undo(path, content)
    assert not problems, "\n".join(problems[:20])
    return tried


def _read_with_everything(root, bad, good, call, visit):
    out = root.parent / "report.html"
    for words in VERBS:
        filled = [word.format(run=bad.path, out=out) for word in words]
        code, said, errors = call(*filled, "--runs", root)
        if code == -1 or "Traceback" in errors:
            yield f"{' '.join(words)}: {errors[-1500:]}"
        elif words[0] == "ls" and (code != 0 or good.id not in said):
            yield f"the list is down: {code} {said} {errors}"
        elif code and (errors.count("digsite:") != 1 or len(errors) > 2000):
            yield f"{' '.join(words)}: not one sentence: {errors[:500]}"
    here = f"/runs/{bad.path.parent.name}/{bad.id}"
    visit.forget()
    listed = visit.get("/")
    if listed.status_code != 200 or good.id not in listed.text:
        yield f"the first page is down: {listed.status_code}"
    view = f"/api{here}/view?name=singular+values+while+training"
    compared = f"/compare?run={bad.path.parent.name}/{bad.id}&run={good.path.parent.name}/{good.id}"
    for address in (
        "/api/runs",
        here,
        f"/api{here}",
        f"/api{here}/metrics",
        f"{here}/report",
        compared,
        view,
        f"/api{compared}",
        f"{here}/tables/overlaps",
        "/?where=steps>1&state=damaged",
    ):
        answer = visit.get(address)
        if answer.status_code >= 500:
            yield f"{address}: {answer.status_code}"


@pytest.mark.parametrize(
    "name", ["launch.yaml", "status.json", "results.json", "views.json", "metrics.jsonl"]
)
def test_damage_costs_its_own_section(house, call, visit, name):
    assert attack(house, call, visit, name, SHARE) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("name", RECORDS)
def test_every_damage_of_every_record(house, call, visit, name):
    assert attack(house, call, visit, name, 1) > 15


def test_a_damaged_run_is_listed_as_damaged(house, call, visit):
    root, _, (bad, cut) = house
    bad.status_file.write_bytes(b"[" * 5000)
    cut.launch.write_bytes(cut.launch.read_bytes()[:-30])
    code, said, _ = call("ls", "--runs", root)
    assert code == 0 and said.count("damaged") >= 2
    assert call("ls", "--state", "damaged", "--runs", root)[1].count(bad.id) == 1
    visit.forget()
    shown = visit.get("/?state=damaged").text
    assert bad.id in shown and cut.id in shown
    assert "Damaged records" in visit.get(f"/runs/{cut.path.parent.name}/{cut.id}").text


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.slow), 6])
def test_a_damaged_plan_costs_its_own_rows(house, call, visit, every):
    root, sweep, _ = house
    path = sweep.folder / "plan.jsonl"
    content = path.read_bytes()
    for damage in chosen("lines", content, "plan.jsonl", every):
        damage.apply(path)
        for words in (
            ("sweep", "status", "pair"),
            ("sweep", "status", "pair", "--json"),
            ("sweep", "report", "pair"),
            ("ls",),
            ("report", "pair", "--out", root.parent / "r.html"),
        ):
            code, _, errors = call(*words, "--runs", root)
            assert code != -1 and "Traceback" not in errors, (damage.name, words, errors[-1500:])
        for address in ("/sweeps", "/sweeps/pair", "/api/sweeps/pair", "/"):
            assert visit.get(address).status_code < 500, (damage.name, address)
        undo(path, content)


def test_half_of_a_pair_in_a_claim_is_shown_as_a_question_mark(house, visit):
    """JSON can say what no page can."""
    import json

    _, _, (run, _) = house
    found = json.loads(run.results.read_bytes())
    found["claims"][0]["title"] = "half \ud800"
    run.results.write_text(json.dumps(found))
    shown = visit.get(f"/runs/{run.path.parent.name}/{run.id}")
    assert shown.status_code == 200 and "half ?" in shown.text


def test_runs_that_vanish_while_they_are_shown(house, visit):
    root, _, (gone, good) = house
    here = f"/runs/{gone.path.parent.name}/{gone.id}"
    assert visit.get("/").status_code == 200
    shutil.rmtree(gone.path)
    for address in ("/", "/api/runs", here, f"/api{here}", f"{here}/report", "/sweeps/pair", "/zoo"):
        assert visit.get(address).status_code in (200, 404), address
    shutil.rmtree(root)
    for address in ("/", "/api/runs", "/sweeps", "/zoo", f"/runs/{good.path.parent.name}/{good.id}"):
        assert visit.get(address).status_code in (200, 404), address


VIEWS = {
    "bins": ["x", [], 0, -3, 10**30, None, {"a": 1}],
    "null": [5, [], "#", "x.csv#", "../../x", {"a": 1}],
    "x": [5, [], None, "#nothing"],
    "band": [5, "low", [[]], [[1]], ["a"], [None, None]],
    "scrub": [5, "#values", "#", []],
    "names": [5, "x", [1], {}],
    "lead_names": [5, {}],
    "row_order": ["#values", 5, "#steps"],
    "bits": [10**9, -1, "x", []],
    "columns": [5, "a", [5, []], {}],
    "labels": [5, {}],
    "importance": ["#values", 7],
    "probes": [[], "#steps"],
    "module": [5, [], {}],
    "marks": [5, [[]], {}],
    "group": [[], 5, {}],
    "label": [[], {}],
    "title": [[], {}, 5],
}
SOURCES = (
    "artifacts/spectra.safetensors#values",
    "artifacts/spectra.safetensors#steps",
    "tables/overlaps.csv",
    "metrics.jsonl",
    "tables/overlaps.csv#feature",
    "artifacts/spectra.safetensors",
    "views.json",
    "launch.yaml",
    "",
    "#",
    "figures/loss.png",
)


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.slow), 7])
def test_views_that_contradict_their_files(house, visit, every):
    """Every kind of view over every source with every senseless option: a picture or a sentence."""
    import json

    _, _, (run, _) = house
    here = f"/api/runs/{run.path.parent.name}/{run.id}"
    every_view = [
        {"name": "v", "kind": kind, "source": source, option: value}
        for kind in families.list_members("digsite.serve.views")
        for source in SOURCES
        for option, values in VIEWS.items()
        for value in values
    ]
    for view in every_view[:: every * 11]:
        run.views.write_text(json.dumps([view]))
        for address in (
            f"{here}/view?name=v",
            f"{here}/tile?name=v&level=0&row=0&column=0",
            f"{here}/near?name=v&index=1",
        ):
            assert visit.get(address).status_code < 500, (view, address)
        assert visit.get(f"/runs/{run.path.parent.name}/{run.id}/views/v").status_code < 500, view
