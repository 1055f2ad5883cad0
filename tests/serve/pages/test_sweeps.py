"""Sweeps, planned by the planner."""

import json

import pytest

from digsite.record.layout import RunDir
from digsite.record.results import Claim, Results, write_results
from digsite.report.comparison import Group
from digsite.serve.pages.sweeps import rank_groups


@pytest.fixture
def swept(root, planned):
    """A plan over two settings and three seeds, with claims; one run was removed since."""
    rows = []
    for lr in (0.1, 0.2):
        for seed in range(3):
            run = planned("s", config={"lr": lr, "seed": seed})
            write_results(run.results, Results("s", "", (Claim("score", lr * 10 + seed * 0.01),)))
            rows.append(
                {
                    "run": f"s/{run.id}",
                    "study": "s",
                    "point": {"lr": lr, "seed": seed},
                    "pack": None,
                    "minutes": 1,
                }
            )
    rows.append({"run": "s/gone", "study": "s", "point": {"lr": 0.3, "seed": 0}, "pack": None, "minutes": 1})
    rows.append({"run": "../../etc", "study": "s", "point": {}, "pack": None, "minutes": 1})
    folder = root / ".sweeps" / "first"
    folder.mkdir(parents=True)
    (folder / "plan.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_the_list_and_the_page(served, swept):
    assert "first" in served.get("/sweeps").text
    page = served.get("/sweeps/first?claim=score").text
    assert page.index("0.2") < page.index("0.1</td>")
    assert "6 of 8 runs are shown" in page
    up = served.get("/sweeps/first?claim=score&up=1").text
    assert up.index("0.1</td>") < up.index("0.2</td>")


def test_the_lines_of_the_parallel_coordinates(served, swept):
    answer = served.get("/api/sweeps/first").json()
    assert answer["settings"] == ["lr", "seed"]
    assert len(answer["runs"]) == 6
    assert answer["runs"][0]["claims"] == {"score": 1.0} and answer["runs"][0]["settings"] == {
        "lr": 0.1,
        "seed": 0,
    }


def test_no_sweep_of_that_name(served, swept):
    for name in ("second", "..", "%2e%2e", "first%2f..%2ffirst"):
        assert served.get(f"/sweeps/{name}").status_code in (404, 200 if name == ".." else 404)


def test_a_linked_sweep_is_none(served, swept, root):
    (root / ".sweeps" / "link").symlink_to(swept)
    assert "link<" not in served.get("/sweeps").text
    assert served.get("/sweeps/link").status_code == 404


def test_settings_without_the_claim_come_last():
    groups = tuple(
        Group({"a": i}, (), {"c": Claim("c", v)} if v is not None else {})
        for i, v in enumerate([1.0, None, 3.0])
    )
    assert [g.settings["a"] for g in rank_groups(groups, "c", False)] == [2, 0, 1]
    assert [g.settings["a"] for g in rank_groups(groups, "c", True)] == [0, 2, 1]


# Runs beside each other.


def query(made, n=4):
    runs = sorted((made / "showcase").iterdir())[:n]
    return "&".join(f"run=showcase/{run.name}" for run in runs), [RunDir(run) for run in runs]


def test_differences_answers_and_figures(client, made):
    asked, runs = query(made)
    page = client.get(f"/compare?{asked}").text
    for run in runs:
        assert run.id in page
    assert page.index("What differs") < page.index("What was found") < page.index("Shared config")
    assert "Pooled over seeds" in page
    assert page.count('class="zoomable"') == 8


def test_curves_know_their_seeds(client, made):
    asked, _ = query(made)
    answer = client.get(f"/api/compare?{asked}").json()
    groups = [line["group"] for line in answer["metrics"]["loss"]]
    assert sorted(groups.count(g) for g in set(groups)) == [1, 3]


def test_the_report_can_be_taken_along(client, made):
    asked, _ = query(made, 2)
    answer = client.get(f"/compare/report?{asked}")
    assert answer.status_code == 200 and "2 runs compared" in answer.text
    assert client.get("/compare/report").status_code == 400


def test_claims_stand_on_one_axis_and_axes_in_the_address(client, made):
    asked, runs = query(made)
    page = client.get(f"/compare?{asked}").text
    assert page.count('class="forest-of"') >= 2 and page.count('<svg class="plot"') == 1
    chosen = client.get(f"/compare?{asked}&x=hidden&y=loss&by=lr").text
    assert "<option selected>loss</option>" in chosen and 'aria-label="loss against hidden, 4 runs"' in chosen
    assert chosen.count('<input type="hidden" name="run"') == 2 * 4  # both forms keep what is compared
    odd = client.get(f"/compare?{asked}&x=%3Cscript%3E&y=none&by=nothing")
    assert odd.status_code == 200 and "<script>" not in odd.text


def test_one_run_alone_has_no_scatter(client, made):
    asked, _ = query(made, 1)
    page = client.get(f"/compare?{asked}").text
    assert "1 run compared" in page and "One against the other" not in page


def test_a_sweep_has_chosen_axes_and_a_heat_map(served, swept):
    page = served.get("/sweeps/first").text
    assert 'data-axes="[&#34;lr&#34;, &#34;seed&#34;, &#34;score&#34;]"' in page
    assert page.count('class="num shade') == 6 and "One against the other" in page
    few = served.get("/sweeps/first?axis=lr&axis=score&axis=nonsense&across=seed&down=lr&shade=score").text
    assert 'data-axes="[&#34;lr&#34;, &#34;score&#34;]"' in few
    assert "lr ↓ seed →" in few


def test_at_most_eight(client, made):
    asked = "&".join(f"run=showcase/r{i}" for i in range(9))
    assert client.get(f"/compare?{asked}").status_code == 400
    assert client.get("/compare?run=showcase/none").status_code == 404
    assert "Tick the runs" in client.get("/compare").text
