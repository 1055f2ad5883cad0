import pytest
from hypothesis import given
from hypothesis import strategies as st

from digsite.base.errors import UsageError
from digsite.config.overrides import apply_overrides, find_path, leaf_paths, merge_trees

keys = st.sampled_from("abc")
trees = st.recursive(
    st.integers(), lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=8
).filter(lambda tree: isinstance(tree, dict))


@given(trees, trees)
def test_merge_keeps_every_value_of_the_upper_tree(low, high):
    merged = leaf_paths(merge_trees(low, high))
    assert all(merged[path] == value for path, value in leaf_paths(high).items() if value != {})


@given(trees)
def test_merge_is_idempotent_and_empty_is_neutral(tree):
    assert merge_trees(tree, tree) == tree == merge_trees(tree, {}) == merge_trees({}, tree)


def test_a_layer_takes_a_key_away():
    base = {"metrics": {"ci_l0": {}, "pgd_recon": {}}}
    assert merge_trees(base, {"metrics": {"~pgd_recon": None, "~unknown": None}}) == {
        "metrics": {"ci_l0": {}}
    }
    assert merge_trees({}, {"metrics": {"~pgd_recon": None}}) == {"metrics": {}}


@given(trees, keys, keys, st.integers())
def test_an_override_sets_one_path_and_nothing_else(tree, a, b, value):
    if isinstance(tree.get(a), int) or (b in tree.get(a, {}) and tree[a][b] == value):
        tree = {**tree, a: {}}
    edited = apply_overrides(tree, [f"{a}.{b}={value}"])
    assert edited[a][b] == value
    assert {p: v for p, v in leaf_paths(edited).items() if not p.startswith(a)} == {
        p: v for p, v in leaf_paths(tree).items() if not p.startswith(a)
    }


def test_values_are_yaml_and_lists_have_places():
    tree = {"losses": [{"coeff": 1}, {"coeff": 2}]}
    assert apply_overrides(tree, ["losses.1.coeff=3e-4"])["losses"] == [{"coeff": 1}, {"coeff": 3e-4}]
    assert apply_overrides(tree, ["losses.2={coeff: 5}"])["losses"][2] == {"coeff": 5}
    assert apply_overrides(tree, ["~losses.0"])["losses"] == [{"coeff": 2}]
    assert apply_overrides({"sizes": [1]}, ["sizes=[4, 5]"]) == {"sizes": [4, 5]}
    assert tree == {"losses": [{"coeff": 1}, {"coeff": 2}]}


def test_files_merge_in(tmp_path):
    (tmp_path / "x.yaml").write_text("a: {b: 2}")
    assert apply_overrides({"a": {"c": 1}}, [f"@{tmp_path / 'x.yaml'}"]) == {"a": {"c": 1, "b": 2}}


def test_a_new_kind_replaces_the_old_member():
    assert merge_trees({"gate": {"kind": "mlp", "hidden": 3}}, {"gate": {"kind": "linear"}}) == {
        "gate": {"kind": "linear"}
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("novalue", "not an override"),
        ("a.b=1", "below 'b', where there is a plain value"),
        ("l.7=1", "not a place in a list"),
    ],
)
def test_bad_overrides_are_named(text, words):
    with pytest.raises(UsageError, match=words):
        apply_overrides({"a": 1, "l": [1]}, [text])


KNOWN = ["seeds", "target.steps", "target.model.n_hidden", "room.steps", "room.a.coeff", "room.b.coeff"]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("seeds", "seeds"),
        ("steps", "room.steps"),  # the room's own section before the target's
        ("target.steps", "target.steps"),
        ("n_hidden", "target.model.n_hidden"),
        ("model.n_hidden", "target.model.n_hidden"),
        ("model", "target.model"),
        ("a.coeff", "room.a.coeff"),
    ],
)
def test_the_end_of_a_path_is_enough(name, path):
    assert find_path(name, KNOWN, section="room") == path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("coeff", r"'coeff' could be room.a.coeff, room.b.coeff"),
        ("steps", r"'steps' could be room.steps, target.steps"),
        ("n_hiden", r"Unknown key 'n_hiden' in this config. Did you mean 'target.model.n_hidden'"),
        ("zzz", r"Unknown key 'zzz' in this config. Accepted: room, seeds, target"),
    ],
)
def test_what_is_unclear_is_said_with_whole_paths(name, words):
    with pytest.raises(UsageError, match=words):
        find_path(name, KNOWN)
