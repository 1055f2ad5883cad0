"""The choice follows the kind of network, and can be overridden."""

import pytest
import torch

from digsite.base.errors import UsageError
from digsite.models import build, parse
from digsite.train.chooser import choose
from digsite.train.dropout import replace_dropout
from digsite.train.layout import Layout

CPU = torch.device("cpu")


def plan(kind: str, engine: str | None = None, chunk: int | None = None, count: int = 16, **fields):
    model = build(parse({"kind": kind, **fields}))
    replace_dropout(model)
    return choose(model, Layout.of(model), count, CPU, engine, chunk)


def test_each_kind_has_its_engine():
    assert plan("mlp").engine == "mlp"
    assert plan("small_cnn").engine == "stacked"
    assert plan("transformer", d_model=16).engine == "vmap"
    assert plan("transformer", d_model=16, count=2).engine == "loop"
    assert plan("transformer", d_model=128).engine == "loop"
    assert plan("mlp").chunk > plan("mlp", sizes=[784, 512, 10]).chunk == 4


def test_overrides_and_refusals():
    assert plan("mlp", engine="vmap", chunk=3) == plan("mlp", "vmap", 3)
    assert plan("mlp", engine="vmap", chunk=3).chunk == 3
    with pytest.raises(UsageError, match="unknown engine 'vmpa'. Did you mean 'vmap'"):
        plan("mlp", engine="vmpa")
    with pytest.raises(UsageError, match="'mlp' cannot run SmallCnn"):
        plan("small_cnn", engine="mlp")
