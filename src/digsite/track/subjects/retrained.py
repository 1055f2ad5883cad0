"""A small run recorded the way the original recorded its runs, defects included: the audit without the data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import nn

from digsite.data import load
from digsite.models import build
from digsite.models.config import parse
from digsite.track.core import capture
from digsite.track.core.probe import Probe
from digsite.track.subjects.published import RECORDED, PublishedRun

PROBE_ROWS = 160
BATCH = 32


def runs(seed: int, steps: int, every: int) -> list[PublishedRun]:
    """One MLP on the bundled digits: Adam at 1e-3, batches of 32, the first 160 test images as the probe."""
    digits = load("digits")
    model = build(parse({"kind": "mlp", "sizes": [64, 64, 32, 10]}), seed)
    wrapped = nn.Sequential(nn.Flatten(), model)
    probe = Probe(digits.x_test[:PROBE_ROWS], n_rows=PROBE_ROWS)
    found = capture.targets(wrapped, frozenset({"linear"}))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for step in range(steps):
        batch = torch.randint(len(digits.x_train), (BATCH,), generator=generator)
        loss = nn.functional.cross_entropy(wrapped(digits.x_train[batch]), digits.y_train[batch])
        if step % every == 0:
            captured, _ = probe.run(wrapped, found)
            rows += [
                {"step": step, "loss": float(loss.detach()), "layer": n, **original(a)}
                for n, a in captured.outputs.items()
            ]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [PublishedRun("mlp_retrained_digits", "mlp_retrained", "digits", steps, pd.DataFrame(rows))]


def original(activations: torch.Tensor) -> dict[str, float]:
    """The original's formulas; its stable rank divides the Frobenius norm by itself."""
    singular = torch.linalg.svdvals(activations).numpy().astype(np.float64)
    frobenius2 = float(torch.norm(activations)) ** 2
    energy = np.cumsum(singular**2) / np.sum(singular**2)
    return {
        RECORDED: frobenius2 / (float(torch.norm(activations, p=2)) ** 2 + 1e-10),
        "participation_ratio": float(singular.sum() ** 2 / np.sum(singular**2)),
        "effective_rank_90": int(np.searchsorted(energy, 0.9)) + 1,
        "nuclear_norm_ratio": float(singular.sum() / singular[0]),
    }
