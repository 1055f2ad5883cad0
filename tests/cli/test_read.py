import json

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from digsite.base.errors import UsageError
from digsite.cli.read import read_command


@pytest.fixture
def model(tmp_path):
    g = torch.Generator().manual_seed(0)
    path = tmp_path / "m.safetensors"
    save_file({"a.weight": torch.randn(6, 70, generator=g), "b.weight": torch.randn(3, 6, generator=g)}, path)
    return str(path)


def test_layers_as_a_table_and_as_json(model):
    plain = CliRunner().invoke(read_command, [model])
    assert plain.exit_code == 0, plain.output
    assert (
        "a.weight" in plain.output
        and "too few values" in plain.output
        and "no shipped reader" in plain.output
    )
    found = json.loads(CliRunner().invoke(read_command, [model, "--json"]).output)
    assert [row["layer"] for row in found["layers"]] == ["a.weight", "b.weight"]


def test_two_models(model):
    found = CliRunner().invoke(read_command, [model, model])
    assert found.exit_code == 0 and "identical weights" in found.output


@pytest.mark.parametrize("extra", [["x", "--lineage"], ["--lineage", "--reader", "r"]])
def test_options_that_contradict(model, extra):
    found = CliRunner().invoke(read_command, [model, *extra])
    assert isinstance(found.exception, UsageError)
