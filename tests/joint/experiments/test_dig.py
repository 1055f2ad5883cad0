"""`digsite dig` as a user calls it: one paragraph to quote, a page, and one sentence for what cannot be dug into."""

import json

import pytest
import torch
from torch import nn

from digsite.weights import write_weights


@pytest.fixture
def small(tmp_path):
    torch.manual_seed(3)
    network = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 10))
    write_weights(tmp_path / "small.safetensors", network.state_dict())
    return tmp_path / "small.safetensors"


def test_a_stored_network_leaves_a_run_with_a_paragraph_and_a_page(cli, small, tmp_path):
    code, out, err = cli("dig", small, "--budget", "60s", "--runs", tmp_path / "runs", "--json")
    assert code == 0, err
    shown = json.loads(out)
    text = json.dumps(shown)
    assert "1,130 parameters" in text and "looks untrained" in text
    assert list((tmp_path / "runs").glob("dig/*/report.html"))
    questions = next((tmp_path / "runs").glob("dig/*/tables/questions.csv")).read_text()
    assert "no folder of possible relatives was named" in questions
    page = next((tmp_path / "runs").glob("dig/*/report.html")).read_text()
    asked = page[page.index("Question by question") :]
    assert "Not answered: no folder of possible relatives was named" in asked
    assert "digsite read FOLDER --lineage" in asked and "Beside: random matrices of the same shapes" in asked


def test_a_budget_of_a_second_still_leaves_a_page(cli, small, tmp_path):
    code, _, err = cli("dig", small, "--budget", "1s", "--runs", tmp_path / "runs")
    assert code == 0, err
    assert list((tmp_path / "runs").glob("dig/*/report.html"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere.safetensors"], "nowhere.safetensors"),
        (["empty"], "is empty: there is no model in it"),
        (["--budget", "soon"], "'soon' is no time"),
        (["--skip", "condtion"], "there is no question 'condtion'. Did you mean 'condition'"),
    ],
)
def test_what_is_wrong_is_one_sentence(cli, small, tmp_path, words, sentence):
    (tmp_path / "empty").mkdir()
    words = [small, *words] if words[0].startswith("--") else [tmp_path / words[0]]
    code, _, err = cli("dig", *words, "--runs", tmp_path / "runs")
    assert code in (2, 3) and sentence in err and "Traceback" not in err
    assert not list((tmp_path / "runs").glob("dig/*")), "a slip leaves no run behind"


def planted_folder(tmp_path, names):
    folder = tmp_path / "nets"
    for number, name in enumerate(names):
        torch.manual_seed(number)
        network = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 10))
        write_weights(folder / f"{name}.safetensors", network.state_dict())
    return folder


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([f"net{number}" for number in range(12)], "holds 12 models and not one: 0 of"),
        (
            [f"net{letter}{more}" for letter in "abcde" for more in "fghijklmno"],
            "holds 50 models and not one: 0 of",
        ),
        (
            [f"step_{step}" for step in range(0, 600, 100)],
            "is a training and not one model: 6 checkpoints from step 0 to 500",
        ),
    ],
)
def test_a_folder_of_several_models_has_one_sentence_and_a_page(cli, tmp_path, names, sentence):
    folder = planted_folder(tmp_path, names)
    code, out, err = cli("dig", folder, "--budget", "30s", "--runs", tmp_path / "runs", "--json")
    assert code == 0, err
    assert sentence in out
    assert list((tmp_path / "runs").glob("dig/*/report.html"))


def test_weights_that_are_all_zero_are_said_to_be(cli, tmp_path):
    write_weights(
        tmp_path / "zero.safetensors", {"a.weight": torch.zeros(32, 24), "b.weight": torch.zeros(10, 32)}
    )
    code, out, err = cli(
        "dig", tmp_path / "zero.safetensors", "--budget", "30s", "--runs", tmp_path / "runs", "--json"
    )
    assert code == 0, err
    assert "100.0% of the numbers in its matrices are exactly zero" in out
    questions = next((tmp_path / "runs").glob("dig/*/tables/questions.csv")).read_text()
    assert "its matrices hold nothing but zeros" in questions


def test_of_an_unknown_family_is_said_what_can_be_said(cli, tmp_path):
    folder = tmp_path / "martian"
    write_weights(folder / "model.safetensors", {"tentacle.weight": torch.randn(32, 24)})
    (folder / "config.json").write_text('{"model_type": "martian"}')
    code, out, err = cli("dig", folder, "--budget", "30s", "--runs", tmp_path / "runs", "--json")
    assert code == 0, err
    assert "768 parameters" in out and "'martian'" in out
    questions = next((tmp_path / "runs").glob("dig/*/tables/questions.csv")).read_text()
    assert "cannot be run here" in questions


def test_heads_are_no_convolutions(cli, tmp_path):
    sides = {"W_Q": (4, 32, 8), "W_U": (32, 10), "conv1.weight": (16, 1, 9), "conv2.weight": (8, 16, 3, 3)}
    write_weights(tmp_path / "mixed.safetensors", {name: torch.randn(side) for name, side in sides.items()})
    code, out, err = cli(
        "dig", tmp_path / "mixed.safetensors", "--budget", "30s", "--runs", tmp_path / "runs"
    )
    assert code == 0, err
    assert "(2 convolutions, 1 stack of matrices, 1 matrix)" in " ".join(out.split())


def test_a_class_that_stands_out_in_the_output_layer_is_named(cli, tmp_path):
    torch.manual_seed(0)
    head = torch.randn(200, 64)
    head[17] += 5.0
    weights = {"fc1.weight": torch.randn(64, 32) @ torch.diag(torch.linspace(0.1, 3, 32)), "fc2.weight": head}
    write_weights(tmp_path / "planted.safetensors", weights)
    code, out, err = cli(
        "dig", tmp_path / "planted.safetensors", "--budget", "60s", "--runs", tmp_path / "runs"
    )
    assert code == 0, err
    assert "Was a class planted? Perhaps: output row 17 of 200" in " ".join(out.split())
