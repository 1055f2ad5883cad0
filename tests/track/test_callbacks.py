"""Without the other trainer installed the error names what to install."""

import importlib.util

import pytest
import torch

from digsite.base.errors import MissingExtra
from digsite.track import lightning_callback, transformers_callback


@pytest.mark.skipif(importlib.util.find_spec("lightning") is not None, reason="lightning is installed")
def test_lightning_is_named() -> None:
    with pytest.raises(MissingExtra, match="lightning"):
        lightning_callback(torch.zeros(3, 2))


def test_transformers_callback_tracks_or_is_named() -> None:
    if importlib.util.find_spec("transformers") is None:
        with pytest.raises(MissingExtra, match="transformers"):
            transformers_callback(torch.zeros(3, 2))
        return
    callback = transformers_callback(torch.randn(30, 2), every=1, budget=None)

    class State:
        global_step = 0
        log_history: tuple[dict, ...] = ()

    callback.on_train_begin(None, State(), None, model=torch.nn.Linear(2, 2))
    callback.on_step_end(None, State(), None)
    callback.on_train_end(None, State(), None)
    assert callback.tracker is not None and callback.tracker.records.steps() == [0, 1]
