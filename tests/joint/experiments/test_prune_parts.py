"""Blocks of a language model pruned in every way at equal bytes: a tiny one here, that nobody trained."""

import pandas as pd
import pytest
import torch

from digsite.base.errors import UsageError
from digsite.joint.config import PrunePartsConfig
from digsite.joint.experiments import prune_parts
from digsite.models import build
from digsite.models.configs.language import LlamaConfig

TINY = {"vocab": 32, "d_model": 16, "d_mlp": 24, "n_layers": 2, "n_heads": 2, "n_kv_heads": 2, "context": 16}


@pytest.fixture(scope="module")
def stage():
    model = build(LlamaConfig.model_validate(TINY), 0).eval()
    tokens = torch.randint(0, 32, (12, 10), generator=torch.Generator().manual_seed(0))
    return prune_parts.Stage(model, prune_parts.list_block(model, 1), tokens[:6], tokens[6:])


def test_every_way_is_judged_on_the_block_alone_which_is_whole_afterwards(stage):
    before = {name: value.clone() for name, value in stage.model.state_dict().items()}
    config = PrunePartsConfig(methods=["magnitude", "wanda"], levels=[0.3, 0.6], asked=2)
    rows = pd.DataFrame(prune_parts.score_block(stage, config, torch.Generator().manual_seed(0)))
    assert all(torch.equal(value, before[name]) for name, value in stage.model.state_dict().items())
    assert set(rows["way"]) > {
        "parts",
        "whole parts",
        "low rank",
        "magnitude",
        "wanda",
        "chance",
        "attribution",
    }
    lost = rows.pivot(index="way", columns="sparsity", values="moved")
    assert (lost[0.6] > lost[0.3]).all() and (lost > 0).all().all()


def test_bytes_at_equal_loss_lie_between_the_levels():
    rows = pd.DataFrame({"way": "a", "bytes": [0.8, 0.4], "moved": [0.01, 1.0]})
    assert prune_parts.find_bytes(rows, "a", 0.1) == pytest.approx(0.6)
    assert prune_parts.find_bytes(rows, "a", 1e-9) == 1.0  # no level loses so little


def test_a_block_that_is_not_there_is_refused(stage):
    with pytest.raises(UsageError, match="no block 7"):
        prune_parts.list_block(stage.model, 7)
