"""Search, filters, order and pages of the list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from digsite.config import yamlio
from digsite.config.overrides import leaf_paths
from digsite.serve.index import Index
from digsite.serve.launches import LeafTable, parse_conditions, walk_leaves
from digsite.serve.query import PER_PAGE, Query, list_page


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
    return Index(root)


def found(entries, text):
    return list_page(entries, Query.of(QueryParams(text)))


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


# Filters on pinned configs answer as a YAML parser would.

WORDS = st.text("abcdefgh_", min_size=1, max_size=6)
LEAVES = st.one_of(st.integers(-99, 99), st.floats(-1e3, 1e3), st.booleans(), WORDS)
TREES = st.recursive(
    st.dictionaries(WORDS, LEAVES, min_size=1, max_size=3),
    lambda inner: st.dictionaries(
        WORDS, st.one_of(inner, LEAVES, st.lists(inner, min_size=1, max_size=2)), min_size=1, max_size=3
    ),
    max_leaves=12,
)


def plain(path):
    """Without the numbers of list items, which the walk leaves out."""
    return ".".join(part for part in path.split(".") if not part.isdigit())


@given(TREES)
def test_the_walk_finds_what_a_parser_finds(tree):
    found = sorted(path for path, _ in walk_leaves(yamlio.dump_yaml(tree)))
    assert found == sorted(plain(path) for path in leaf_paths(tree))


@given(st.dictionaries(WORDS, LEAVES, min_size=1, max_size=5))
def test_values_come_back(tree):
    text = yamlio.dump_yaml({"config": tree})
    for key, value in tree.items():
        table = LeafTable()
        found = table.values_at(table.add_launch(text), key)
        assert str(value) in found or str(value).lower() in found or float(found[0]) == value


LAUNCH = """schema: 1
study: s
tags:
- fast
- odd one
config:
  train:
    lr: 0.01
    sizes:
    - 8
    - 16
  losses:
  - kind: recon
    coeff: 2
  - kind: sparse
    coeff: 0.5
  name: 'yes'
  seed: 0
"""


@pytest.mark.parametrize(
    ("where", "fits"),
    [
        ("lr=0.01", True),
        ("lr=1e-2", True),
        ("train.lr=0.01", True),
        ("config.train.lr=0.01", True),
        ("lr>0.005 lr<=0.01", True),
        ("lr>0.01", False),
        ("sizes=16", True),
        ("losses.coeff<1", True),
        ("losses.kind=sparse", True),
        ("coeff.kind=sparse", False),
        ("name=yes", True),
        ("name>1", False),
        ("seed!=0", False),
        ("seed!=1", True),
        ("nothing=1", False),
        ("nothing!=1", False),
        ("", True),
    ],
)
def test_conditions(where, fits):
    table = LeafTable()
    launch, _ = table.add_launch(LAUNCH), table.add_launch("schema: 1\nconfig:\n  seed: 5\n")
    conditions, problem = parse_conditions(where)
    assert not problem
    assert all(table.matches(launch, condition) for condition in conditions) is fits


def test_a_condition_is_asked_of_runs_that_came_later():
    table, ((seed,), _) = LeafTable(), parse_conditions("seed<3")
    assert not table.matches(table.add_launch("config:\n  seed: 7\n"), seed)
    assert table.matches(table.add_launch("config:\n  seed: 2\n"), seed)


def test_tags_are_whole_words():
    table = LeafTable()
    launch = table.add_launch(LAUNCH)
    assert table.has_tag(launch, "fast") and table.has_tag(launch, "odd one")
    assert not table.has_tag(launch, "odd") and not table.has_tag(launch, "recon")


def test_what_is_no_condition_is_said():
    assert "'lr>>' is not a condition" in parse_conditions("seed=0 lr>>")[1]
    assert "'lr' is not a condition" in parse_conditions("seed=0 lr")[1]
