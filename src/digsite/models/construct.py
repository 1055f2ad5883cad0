"""From a config to a module."""

from importlib import import_module

import torch
from torch import nn

from digsite.base.contract import public_method
from digsite.config import Config
from digsite.models.initial import init


@public_method()
def build(config: Config, seed: int = 0) -> nn.Module:
    """A module with its default initial weights; PyTorch's global generator is left as it was."""
    model = empty(config)
    init(model, seed)
    return model


@public_method()
def empty(config: Config) -> nn.Module:
    """A module whose weights are about to be overwritten."""
    kind = getattr(config, "kind", None)
    assert isinstance(kind, str), f"{type(config).__name__} is no model config"
    with torch.random.fork_rng(devices=[]):
        model = import_module(f"digsite.models.architectures.{kind}").build(config)
    model.config = config  # so that a saved model says how to build it again
    return model
