"""Components of modular addition as functions of the numbers: how much of each is a single frequency."""

from __future__ import annotations

import torch
from torch import Tensor

from digsite.decompose.core.decomposition import Components


def measure_concentration(profile: Tensor) -> Tensor:
    """Per column of (p, n): the share of the power, without the mean, at its strongest frequency."""
    power = torch.fft.rfft(profile.double() - profile.double().mean(0), dim=0).abs().square()[1:]
    return power.max(0).values / power.sum(0).clamp_min(1e-30)


def find_frequency(profile: Tensor) -> Tensor:
    """Per column the strongest frequency, from 1."""
    power = torch.fft.rfft(profile.double() - profile.double().mean(0), dim=0).abs().square()[1:]
    return power.argmax(0) + 1


def list_profiles(parts: Components, embedding: Tensor, modulus: int) -> list[Tensor]:
    """What the parts read or write, as functions (p, C) of the first and the second number or of the answer."""
    n_in, n_out = parts.weight.shape
    width = embedding.shape[1]
    if n_in == modulus:
        return [parts.V]
    if n_out == modulus:
        return [parts.U.T]
    if n_in in (width, 2 * width):
        return [embedding @ half for half in parts.V.split(width)]
    return []


def score_single_frequency(
    parts: Components, embedding: Tensor, modulus: int, kept: Tensor | None = None
) -> float | None:
    """Mean concentration over the kept components and over the numbers that they read; none where nothing is known."""
    found = list_profiles(parts, embedding, modulus)
    if not found:
        return None
    values = torch.stack([measure_concentration(profile) for profile in found]).mean(0)
    chosen = values if kept is None else values[kept]
    return float(chosen.mean()) if len(chosen) else 0.0


def measure_noise_concentration(modulus: int, n: int = 2000) -> float:
    """The same of white noise."""
    return float(
        measure_concentration(torch.randn(modulus, n, generator=torch.Generator().manual_seed(0))).mean()
    )
