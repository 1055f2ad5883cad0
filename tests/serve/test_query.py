"""Search, filters, order and pages of the list."""

import pytest
from starlette.datastructures import QueryParams

from digsite.serve.index import Index
from digsite.serve.query import PER_PAGE, Query, listing


@pytest.fixture
def entries(root, planned):
    for i in range(PER_PAGE + 5):
        planned(
            "alpha" if i % 2 else "beta",
            f"run{i:03d}",
            created=float(i),
            started=float(i),
            ended=i + (i % 7),
            state="failed" if i == 4 else "finished",
            message="lost a disk" if i == 4 else "",
            config={"seed": i},
        )
    return Index(root).entries()


def found(entries, text):
    return listing(entries, Query.of(QueryParams(text)))


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("", 55),
        ("study=alpha", 27),
        ("state=failed", 1),
        ("q=DISK+lost", 1),
        ("q=beta+run00", 5),
        ("where=seed%3C3", 3),
        ("where=seed%3C3&study=beta", 2),
        ("study=none", 0),
        ("where=nonsense", 55),
    ],
)
def test_filters(entries, text, n):
    assert found(entries, text).found == n


def test_pages(entries):
    first, second = found(entries, ""), found(entries, "page=2")
    assert (len(first.shown), len(second.shown), first.pages) == (50, 5, 2)
    assert first.shown[0].run.id == "run054" and second.shown[-1].run.id == "run000"
    assert found(entries, "page=9").shown == []


def test_orders(entries):
    assert found(entries, "sort=run&up=1").shown[0].run.id == "run000"
    assert found(entries, "sort=study").shown[0].status.study == "beta"
    assert found(entries, "sort=state&up=1").shown[0].status.state == "failed"
    took = [e.status.ended - e.status.started for e in found(entries, "sort=took").shown]
    assert took == sorted(took, reverse=True)


def test_counts_are_of_everything(entries):
    counted = found(entries, "study=alpha")
    assert counted.states == {"finished": 54, "failed": 1}
    assert counted.studies == {"alpha": 27, "beta": 28}
    assert counted.total == 55


def test_links_keep_the_rest():
    query = Query.of(QueryParams("q=a b&study=x&page=3"))
    assert query.link(page=1, state="failed") == "/?q=a+b&study=x&state=failed"
    assert Query().link() == "/"
    assert Query.of(QueryParams("sort=__init__&page=-2&up=x")) == Query()
