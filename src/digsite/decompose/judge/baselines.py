"""Trivial decompositions beside the found one: the weight's SVD, and a random rotation of the found components."""

from __future__ import annotations

import torch

from digsite.decompose.core.decomposition import Components


def svd(parts: Components) -> Components:
    """Singular directions, each with its singular value: the parts that add up to W with the least rank."""
    left, sizes, right = torch.linalg.svd(parts.weight, full_matrices=False)
    return Components(left * sizes, right, parts.weight)


def rotated(parts: Components, generator: torch.Generator) -> Components:
    """The same product V U from factors mixed by a random rotation: equally faithful, without the sparsity."""
    n = parts.V.shape[1]
    mixed = torch.randn(n, n, generator=generator, dtype=parts.V.dtype)
    rotation = torch.linalg.qr(mixed)[0].to(parts.V.device)
    return Components(parts.V @ rotation, rotation.T @ parts.U, parts.weight)


def random_directions(parts: Components, generator: torch.Generator) -> Components:
    """The weight split along a random orthogonal basis of what it reads or of what it writes, whichever is smaller."""
    n_in, n_out = parts.weight.shape
    basis = torch.linalg.qr(torch.randn(*[min(n_in, n_out)] * 2, generator=generator))[0].to(parts.weight)
    if n_in <= n_out:
        return Components(basis, basis.T @ parts.weight, parts.weight)
    return Components(parts.weight @ basis, basis.T, parts.weight)
