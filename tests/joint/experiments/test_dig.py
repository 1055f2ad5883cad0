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


def test_a_budget_of_a_second_still_leaves_a_page(cli, small, tmp_path):
    code, _, err = cli("dig", small, "--budget", "1s", "--runs", tmp_path / "runs")
    assert code == 0, err
    assert list((tmp_path / "runs").glob("dig/*/report.html"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere.safetensors"], "nowhere.safetensors"),
        (["--budget", "soon"], "'soon' is no time"),
        (["--skip", "condtion"], "there is no question 'condtion'. Did you mean 'condition'"),
    ],
)
def test_what_is_wrong_is_one_sentence(cli, small, tmp_path, words, sentence):
    words = words if not words[0].startswith("--") else [small, *words]
    code, _, err = cli("dig", *words, "--runs", tmp_path / "runs")
    assert code in (2, 3) and sentence in err and "Traceback" not in err
