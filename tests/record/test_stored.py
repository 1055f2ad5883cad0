"""Records that were written by earlier versions open in this one: a folder of fixtures for each schema."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

STORED = Path(__file__).parent / "stored"
SCHEMAS = sorted(path.name for path in STORED.iterdir())


@pytest.fixture(params=SCHEMAS)
def stored(request, tmp_path) -> Path:
    return Path(shutil.copytree(STORED / request.param, tmp_path / "runs" / "stored"))


@pytest.mark.parametrize("name", ["decomposition", "masks", "zoo"])
def test_a_run_shows_its_claims(stored, name, cli):
    code, out, err = cli("show", stored / name)
    assert code == 0, err
    assert "No claims" not in out


def test_its_report_is_written_and_holds_its_claims(stored, cli):
    code, _, err = cli("report", stored / "decomposition", "--out", stored / "report.html")
    assert code == 0, err
    page = (stored / "report.html").read_text()
    assert "recovered" in page and "No claims" not in page


def test_a_decomposition_still_adds_up_to_its_weights(stored):
    from digsite.decompose import Decomposition

    parts = Decomposition.load(stored / "decomposition").components("linear1")
    assert torch.allclose(parts.V @ parts.U + parts.residual, parts.weight, atol=1e-6)


def test_a_zoo_still_gives_its_networks(stored):
    from digsite.zoo import Zoo

    zoo = Zoo.open(stored / "zoo" / "artifacts" / "zoo")
    assert sum(len(values) for _, values in zoo.blocks()) == 4
    assert all(torch.isfinite(p).all() for p in zoo.module(0).parameters())


def test_a_reader_still_answers(stored):
    from digsite.read import load_reader
    from digsite.zoo import Zoo

    network = Zoo.open(stored / "zoo" / "artifacts" / "zoo").module(0)
    answer = load_reader(stored / "reader.safetensors").predict([network])
    assert np.isfinite(answer.table["value"]).all()


def test_masks_are_still_bits(stored):
    from digsite.prune.subjects.maskstore import read_masks

    masks = read_masks(stored / "masks" / "artifacts" / "mask.safetensors")
    assert [mask.mean() for mask in masks.values()] == pytest.approx([0.5], abs=0.01)
