"""Runs beside each other."""

from digsite.record.layout import RunDir


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


def test_at_most_eight(client, made):
    asked = "&".join(f"run=showcase/r{i}" for i in range(9))
    assert client.get(f"/compare?{asked}").status_code == 400
    assert client.get("/compare?run=showcase/none").status_code == 404
    assert "Tick the runs" in client.get("/compare").text
