import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digsite.base.errors import NotFound, UsageError
from digsite.config import yamlio


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 1e5),
        ("5", 5),
        ("-.5", -0.5),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("~", None),
        ("2026-01-01", "2026-01-01"),
        ("[1, 2e-1]", [1, 0.2]),
        ("1.", 1.0),
        ("'1'", "1"),
    ],
)
def test_scalars_read_as_people_write_them(text, value):
    read = yamlio.loads(text)
    assert read == value
    assert type(read) is type(value)


words = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=6)  # PyYAML mangles U+0085
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words


@given(st.dictionaries(words, st.recursive(leaves, lambda x: st.lists(x, max_size=3), max_leaves=6)))
def test_what_is_written_reads_back(tree):
    assert yamlio.loads(yamlio.dumps(tree)) == tree


def test_infinity_reads_back():
    assert math.isinf(yamlio.loads(".inf"))


def test_broken_yaml_says_where(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("a: 1\nb: [1,\n")
    with pytest.raises(UsageError, match=r"c.yaml' is not valid YAML at line \d"):
        yamlio.load(path)


def test_a_file_must_exist_and_hold_a_mapping(tmp_path):
    with pytest.raises(NotFound, match="no config file"):
        yamlio.load(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(UsageError, match="must hold a mapping"):
        yamlio.load(tmp_path / "list.yaml")
