import subprocess
import sys

import numpy as np
import pytest
from pydantic import BaseModel

from digsite.base.errors import UsageError
from digsite.models.config import MODELS, ModelConfig, parse
from digsite.models.configs.convolutional import sample_wild_cnn


class Holder(BaseModel):
    model: ModelConfig


def test_the_kind_decides():
    held = Holder.model_validate({"model": {"kind": "tms", "n_features": 7}})
    assert type(held.model) is MODELS["tms"] and held.model.n_features == 7
    assert Holder.model_validate(held.model_dump()) == held


def test_an_unknown_kind_answers_with_the_nearest():
    with pytest.raises(UsageError, match=r"kind 'lama'\. Did you mean 'llama'"):
        parse({"kind": "lama"})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"kind": "mlp", "sizes": [4]}, "at least 2"),
        ({"kind": "mlp", "sizes": [4, 0]}, "greater than 0"),
        ({"kind": "llama", "n_heads": 3}, "not a multiple"),
        ({"kind": "llama", "n_heads": 4, "n_kv_heads": 3}, "not a multiple of n_kv_heads 3"),
        ({"kind": "gpt2", "n_heads": 5}, "not a multiple"),
        ({"kind": "transformer", "image": [1, 28, 28], "patch": 5}, "no whole patches of 5"),
        ({"kind": "transformer", "vocab": 9}, "needs length"),
        ({"kind": "wild_cnn", "kernels": [3, 4, 3]}, "not all odd"),
        ({"kind": "wild_cnn", "skips": [None, 1, None]}, "earlier layer"),
        ({"kind": "wild_cnn", "strides": [1]}, "1 entries for 3"),
        ({"kind": "cnn", "dropout": 1.0}, "less than 1"),
        ({"kind": "tms", "features": 5}, "Extra inputs"),
    ],
)
def test_impossible_values_are_refused(value, message):
    with pytest.raises(UsageError, match=message):
        parse(value)


def test_wild_networks_are_drawn_from_a_stream():
    a, b = (sample_wild_cnn(np.random.default_rng(seed), channels_in=3) for seed in (1, 1))
    assert a == b
    many = [sample_wild_cnn(np.random.default_rng(seed)) for seed in range(40)]
    assert len({m.model_dump_json() for m in many}) == 40
    assert {len(m.channels) for m in many} == {2, 3, 4, 5}


def test_configs_load_without_torch():
    code = "import sys; from digsite.models import MODELS, shape; shape('MegaNN'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
