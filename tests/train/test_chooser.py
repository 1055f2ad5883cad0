"""The choice follows the kind of network, and can be overridden."""

import pytest
import torch

from digsite.base.errors import UsageError
from digsite.models import build, parse
from digsite.train.chooser import choose
from digsite.train.dropout import replace_dropout

CPU = torch.device("cpu")


def plan(kind: str, engine: str | None = None, chunk: int | None = None, **fields):
    model = build(parse({"kind": kind, **fields}))
    replace_dropout(model)
    return choose(model, sum(p.numel() for p in model.parameters()), 32, CPU, engine, chunk)


def test_each_kind_has_its_engine():
    assert plan("mlp").engine == "mlp"
    assert plan("small_cnn").engine == "stacked"
    assert plan("transformer", d_model=16).engine == "vmap"
    assert plan("mlp", sizes=[784, 512, 10]).engine == "loop"


def test_overrides_and_refusals():
    assert plan("mlp", engine="vmap", chunk=3) == plan("mlp", "vmap", 3)
    assert plan("mlp", engine="vmap", chunk=3).chunk == 3
    with pytest.raises(UsageError, match="unknown engine 'vmpa'. Did you mean 'vmap'"):
        plan("mlp", engine="vmpa")
    with pytest.raises(UsageError, match="'mlp' cannot run SmallCnn"):
        plan("small_cnn", engine="mlp")
