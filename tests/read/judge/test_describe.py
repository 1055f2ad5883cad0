import shutil

import numpy as np
import pandas as pd
import pytest
import read_networks
import torch
from safetensors.torch import load_file, save_file

import digsite
from digsite.base.errors import UsageError
from digsite.read import features
from digsite.read.api import compare_models
from digsite.read.core.population import stack_models
from digsite.read.judge.answers import say_what_it_is
from digsite.read.judge.describe import describe_layers, estimate_tail
from digsite.weights import read_weights


def test_features_are_a_named_row():
    row = features(read_networks.make("relu mlp"))
    weight = read_networks.make("relu mlp").layers[0].weight.detach()
    assert isinstance(row, pd.Series) and row.ndim == 1
    assert row["layer0/weight_mean"] == pytest.approx(float(weight.mean()), abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "words"), [("spectrum", "spectra"), ("nwpa", "learns from a zoo"), ("pca", "learns")]
)
def test_refusals(kind, words):
    with pytest.raises(UsageError, match=words):
        features(read_networks.make("relu mlp"), kind)


def test_short_spectra_get_no_exponent():
    table = describe_layers(stack_models([read_networks.make("relu mlp")]))
    assert set(table["tail_exponent"]) == {"too few values (12)", "too few values (8)", "too few values (4)"}


def test_ranks_of_a_known_matrix():
    table = describe_layers(stack_models([{"a.weight": torch.eye(8), "b.weight": torch.ones(3, 8)}]))
    assert table["stable_rank"].tolist() == pytest.approx([8, 1], abs=1e-5)
    assert table["effective_rank"].tolist() == pytest.approx([8, 1], abs=1e-4)


def test_pareto_exponent_is_recovered():
    rng = np.random.default_rng(0)
    s = np.sqrt(rng.pareto(2.0, 4000) + 1)  # eigenvalue density falls with exponent 3
    value, error = (float(x) for x in estimate_tail(s).split(" ± "))
    assert abs(value - 3) < 4 * error + 0.1


def test_zeros_of_a_matrix_of_low_rank_are_no_tail():
    """A compiled program's matrices end in exact zeros: the estimate once divided by the last one."""
    values = np.r_[np.linspace(1, 3, 20), np.zeros(80)]
    assert estimate_tail(values) == "too few values (20)"
    assert estimate_tail(np.zeros(60)) == "too few values (0)"


KINDS = {
    "bert": "embedding position query key attention output value feed-forward in feed-forward out",
    "vit": "convolution query key attention output value feed-forward in feed-forward out output",
    "t5": "embedding position query key attention output value feed-forward in feed-forward out",
    "mixtral": "embedding query key attention output value expert feed-forward gate expert feed-forward in",
    "mamba": "embedding state space",
    "gpt_neox": "embedding attention output query, key and value feed-forward in feed-forward out output",
    "whisper": "embedding position query key attention output value feed-forward in feed-forward out convolution",
}


@pytest.mark.parametrize("family", KINDS)
def test_kinds_are_those_of_the_family_and_none_is_a_plain_map(family_folders, family):
    table = digsite.read(str(family_folders[family])).layers
    kinds = {kind.removesuffix(", not placed in the graph") for kind in table["kind"]}
    named = kinds - {"router", "not placed in the graph"}  # of which a pooler, say
    assert not kinds & {"linear", "spatial", "conv"}
    assert len(named) > 1 and all(kind.removesuffix(" out") in KINDS[family] for kind in named), kinds
    assert len(table) == len(set(table["layer"])), "every matrix stands once"


def test_an_encoder_without_a_head_tells_no_classes(family_folders):
    group = stack_models([read_weights(str(family_folders["bert"]))]).groups[0]
    assert "a transformer of 2 attention layers with 2 heads" in say_what_it_is(group, 1.0)
    mamba = stack_models([read_weights(str(family_folders["mamba"]))]).groups[0]
    assert "a state-space network of 2 layers" in say_what_it_is(mamba, 1.0)


@pytest.mark.parametrize("named", [True, False])
def test_two_networks_with_shared_keys_compare_whether_or_not_something_says_how_many(
    family_folders, tmp_path, named
):
    folder = family_folders["llama"]
    state = load_file(folder / "model.safetensors")
    changed = {name: tensor + 0.01 * torch.randn_like(tensor) for name, tensor in state.items()}
    if named:
        shutil.copytree(folder, tmp_path / "b")
    (tmp_path / "b").mkdir(exist_ok=True)
    save_file(state, tmp_path / "a.safetensors")
    save_file(changed, tmp_path / "b" / "model.safetensors", {"format": "pt"})
    other = tmp_path / "b" if named else tmp_path / "b" / "model.safetensors"
    answer = compare_models(str(folder if named else tmp_path / "a.safetensors"), str(other))
    assert len(answer["layers"]) == 16 and answer["notes"]
