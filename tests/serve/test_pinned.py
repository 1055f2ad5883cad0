"""Filters on pinned configs answer as a YAML parser would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digsite.config import yamlio
from digsite.config.overrides import leaf_paths
from digsite.serve.pinned import leaves, matches, parse, values_at

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
    found = sorted(path for path, _ in leaves(yamlio.dump_yaml(tree)))
    assert found == sorted(plain(path) for path in leaf_paths(tree))


@given(st.dictionaries(WORDS, LEAVES, min_size=1, max_size=5))
def test_values_come_back(tree):
    text = yamlio.dump_yaml({"config": tree})
    for key, value in tree.items():
        found = values_at(text, key)
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
def test_conditions(tmp_path, where, fits):
    path = tmp_path / "launch.yaml"
    path.write_text(LAUNCH)
    conditions, problem = parse(where)
    assert not problem
    assert matches(path, "", conditions) is fits


def test_tags_are_whole_words(tmp_path):
    path = tmp_path / "launch.yaml"
    path.write_text(LAUNCH)
    assert matches(path, "fast", ()) and matches(path, "odd one", ())
    assert not matches(path, "odd", ()) and not matches(path, "recon", ())


def test_what_is_no_condition_is_said():
    assert "'lr' is not a condition" in parse("seed=0 lr")[1]
