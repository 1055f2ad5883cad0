"""Probes by name, for models that come without data: the first test images of a set, or tokens for a language model."""

from __future__ import annotations

import torch
from torch import nn

from digsite.base.errors import UsageError, name_nearest
from digsite.base.families import list_members
from digsite.data import load, sequences, stories
from digsite.track.core.probe import Probe

IMAGES = "digsite.data.sets"
ROWS = 128
SEQUENCES, HALF = 16, 32


def named_probe(name: str, model: nn.Module) -> Probe:
    """An image set by name, 'stories', or 'repeated': random tokens said twice, which any language model reads."""
    known = [*list_members(IMAGES), "repeated", "stories"]
    if name not in known:
        raise UsageError(f"There is no probe '{name}'. {name_nearest(name, known)}")
    if name == "stories":
        return _fitting(name, model, Probe(stories.windows(SEQUENCES, 2 * HALF, split="test"), n_rows=ROWS))
    if name == "repeated":
        draw = torch.Generator().manual_seed(0)
        tokens = sequences.repeated(SEQUENCES, HALF, _vocabulary(model), draw)
        return _fitting(name, model, Probe(tokens, n_rows=ROWS))
    images = load(name)
    return _fitting(name, model, Probe(images.x_test[:ROWS], images.y_test[:ROWS], n_rows=ROWS))


def _vocabulary(model: nn.Module) -> int:
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            return module.num_embeddings
    raise UsageError(
        f"The probe 'repeated' is made of tokens, and a {type(model).__name__} reads none.",
        hint="Name an image set: --probe digits",
    )


def _fitting(name: str, model: nn.Module, probe: Probe) -> Probe:
    try:
        probe.run(model, [])
    except (RuntimeError, IndexError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(f"The probe '{name}' does not fit a {type(model).__name__}: {reason}.") from None
    return probe
