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
    read = yamlio.parse_yaml(text)
    assert read == value
    assert type(read) is type(value)


words = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=6)  # PyYAML mangles U+0085
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words


@given(st.dictionaries(words, st.recursive(leaves, lambda x: st.lists(x, max_size=3), max_leaves=6)))
def test_what_is_written_reads_back(tree):
    assert yamlio.parse_yaml(yamlio.dump_yaml(tree)) == tree


def test_infinity_reads_back():
    assert math.isinf(yamlio.parse_yaml(".inf"))


def test_broken_yaml_says_where(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("a: 1\nb: [1,\n")
    with pytest.raises(UsageError, match=r"c.yaml' is not valid YAML at line \d"):
        yamlio.load_yaml(path)


def test_a_file_must_exist_and_hold_a_mapping(tmp_path):
    with pytest.raises(NotFound, match="no config file"):
        yamlio.load_yaml(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(UsageError, match="must hold a mapping"):
        yamlio.load_yaml(tmp_path / "list.yaml")


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi")
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("010", "several numbers"),
        ("1:30", "several numbers"),
        ("0x_", "several numbers"),
        ("0b_1", "several numbers"),
        ("-01", "several numbers"),
        ("1_", "several numbers"),
        ("190:20:30.5", "several numbers"),
        ("9" * 5000, "not a number that can be used"),
        ("1." + "0" * 5000, "not a number that can be used"),
        ("&a [*a]", "refers to itself"),
        ("&a {x: *a}", "refers to itself"),
        (BOMB, "more than 50,000 values"),
        ("[" * 60 + "]" * 60, "levels deep"),
        ("[" * 100_000, "nested"),
        ("- " * 5000 + "x", "nested"),
        ("{a: 1, a: 2}", "there twice"),
        ("!!python/object:os.system x", "plain data"),
        ("!!timestamp x", "plain data"),
        ("!!set {a}", "plain data"),
        ("!!binary x", "plain data"),
        ("!!int x", "not a number"),
        ("!!float x", "not a number"),
        ("!!bool x", "not true or false"),
        ('"\\ud800"', "not Unicode"),
        ('{"\\ud800": 1}', "not Unicode"),
        ("{1.5: 2}", "no text"),
        ("{[1]: 2}", "not valid"),
        ("a: b: c", "not valid"),
        ("x" * 1_000_001, "longer than"),
        ("<<: 3", "not valid"),
        ("{<<: *a}", "not valid"),
        ("\0", "not valid"),
        ("!!merge x", "plain data"),
    ],
)
def test_what_could_be_misread_or_never_ends_is_refused_in_a_sentence(text, said):
    with pytest.raises(UsageError) as refused:
        yamlio.parse_yaml(text, where="The value of 'x'")
    assert said in str(refused.value) and len(str(refused.value)) < 300


def test_what_is_clear_is_read():
    text = "[0, -7, 1_000, 0x1F, 1e-3, 1., .5, .inf, 00.5, 1.2.3, 2026-11-29, '010', no, ~, &a [1], *a, v1:30, 10:x]"
    read = yamlio.parse_yaml(text)
    assert read[:8] == [0, -7, 1000, 31, 1e-3, 1.0, 0.5, float("inf")]
    assert read[8:] == [0.5, "1.2.3", "2026-11-29", "010", "no", None, [1], [1], "v1:30", "10:x"]


def test_references_that_stay_small_are_followed():
    assert yamlio.parse_yaml("{base: &b {lr: 1}, one: {<<: *b, n: 2}}") == {
        "base": {"lr": 1},
        "one": {"lr": 1, "n": 2},
    }
