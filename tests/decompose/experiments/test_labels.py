"""The audit of the residual MLP: the solution that is written down does what it says, and parts are counted by hand."""

import pytest
import torch

from digsite.decompose.config import LabelsConfig
from digsite.decompose.experiments import labels
from digsite.decompose.subjects import targets

SMALL = {"kind": "resid_mlp", "n_features": 12, "d_resid": 40, "d_mlp": 5, "n_layers": 1}


@pytest.fixture(scope="module")
def config():
    target = {"model": SMALL, "probability": 0.2, "low": -1.0, "steps": 3, "batch": 16}
    return LabelsConfig.model_validate({"target": target, "batches": 1})


def test_the_written_solution_does_one_feature_a_neuron_and_leaves_the_rest(config):
    network = labels.write_solution(targets.build_untrained(config.target, 0))
    x = targets.sample_features(config.target, 64)(torch.Generator().manual_seed(0))
    wanted = x @ network.W_E @ network.W_E.T
    wanted[:, :5] += x[:, :5].relu()
    torch.testing.assert_close(network(x), wanted, atol=1e-4, rtol=0)
    row = labels.audit_network(config, network, "clean")
    assert row["gain"] == pytest.approx(0, abs=1e-4)


def test_parts_are_counted_by_who_uses_them():
    reads = torch.zeros(4, 6)
    reads[[0, 1, 2], [0, 1, 5]] = 1.0
    reads[3, 5] = 0.9  # two features share part 5, so two of four have one of their own
    writes = torch.zeros(4, 6)
    writes[:, 0] = 1.0
    writes[0, 1] = 1.0
    counted = labels.count_parts(reads, writes)
    assert counted == {"alive_in": 3, "owned": 0.5, "alive_out": 2, "served": (1 + 0.25) / 2}
    assert labels.count_parts(reads, torch.zeros(4, 6))["served"] == 0.0
