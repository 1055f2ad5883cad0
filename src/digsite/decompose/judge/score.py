"""Scores of one member of a toy study against what its model is known to do, as one flat row: `linear1/mmcs`, ..."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.decompose.config import Truth
from digsite.decompose.core.components import ALIVE_SHARE
from digsite.decompose.core.decomposition import Components, Decomposition
from digsite.decompose.core.losses.sparsity import average_residual
from digsite.decompose.core.masks import count_l0, find_alive
from digsite.decompose.subjects.targets import PROBE

TOLERANCES = (0.1, 0.2)
Row = dict[str, float]


def match_patterns(patterns: Mapping[str, Truth], modules: list[str]) -> dict[str, Truth]:
    """The pattern of each module; the first that matches counts."""
    truths = {m: next((t for pattern, t in patterns.items() if fnmatch(m, pattern)), None) for m in modules}
    return {m: t for m, t in truths.items() if t is not None}


def probe_importance(decomposition: Decomposition, n_features: int) -> dict[str, Tensor]:
    """(features, C) by module: importances when one feature at a time is on."""
    device = next(iter(decomposition.params.values()))
    return decomposition.importance(PROBE * torch.eye(n_features).to(device))


def count_pattern_errors(
    importance: Mapping[str, Tensor], patterns: Mapping[str, Truth], tolerance: float
) -> dict[str, int]:
    """Entries that differ from the known solution, by module; 0 everywhere is exact recovery."""
    errors = {}
    for module, pattern in match_patterns(patterns, list(importance)).items():
        values = importance[module].double().cpu().numpy()
        errors[module] = (
            count_identity_errors(values, pattern.identity, tolerance)
            if pattern.identity
            else count_dense_errors(values, pattern.dense, tolerance)
        )
    return errors


def view_features(decomposition: Decomposition, module: str, n_features: int) -> Components | None:
    """The module's components in feature coordinates (features, d), if it reads or writes features one by one."""
    parts = decomposition.components(module)
    if parts.weight.shape[0] == n_features:
        return parts
    if parts.weight.shape[1] == n_features:
        return Components(parts.U.T, parts.V.T, parts.weight.T)
    embedding = getattr(decomposition.model, "W_E", None)
    if embedding is not None and parts.weight.shape[0] == embedding.shape[1] != parts.weight.shape[1]:
        return Components(embedding @ parts.V, parts.U, embedding @ parts.weight)
    return None


def score_toy(
    decomposition: Decomposition, patterns: Mapping[str, Truth], batch: Tensor, n_features: int
) -> Row:
    """Everything that a study says about one member."""
    probes = probe_importance(decomposition, n_features)
    row: Row = {}
    for tolerance in TOLERANCES:
        errors = count_pattern_errors(probes, patterns, tolerance)
        row |= {f"{m}/error_{tolerance:g}": float(e) for m, e in errors.items()}
        row[f"error_{tolerance:g}"] = float(sum(errors.values()))
        row[f"recovered_{tolerance:g}"] = float(sum(errors.values()) == 0)
    row["features_recovered"] = share_recovered_features(probes, patterns)
    for module in decomposition.modules:
        row |= {
            f"{module}/{key}": value
            for key, value in score_module(decomposition, module, probes, n_features).items()
        }
    return row | score_on_data(decomposition, batch)


def share_recovered_features(probes: Mapping[str, Tensor], patterns: Mapping[str, Truth]) -> float:
    """Share of features with exactly one component of their own in every module with an identity pattern."""
    known = [m for m, t in match_patterns(patterns, list(probes)).items() if t.identity]
    owned = [find_owned_features(probes[m].double().cpu().numpy(), 0.2) for m in known]
    return float(np.logical_and.reduce(owned).mean()) if owned else float("nan")


def score_module(
    decomposition: Decomposition, module: str, probes: Mapping[str, Tensor], n_features: int
) -> Row:
    """Counts of one module, and where features are known, how well its parts are those."""
    parts = decomposition.components(module)
    row: Row = {
        "components_of_size": float(count_sizeable(parts.V, parts.U)),
        "alive_components": float(find_alive(probes[module]).sum()),
    }
    view = view_features(decomposition, module, n_features)
    if view is not None:
        row |= match_true_columns(view)
    return row


def match_true_columns(view: Components) -> Row:
    """Over all parts, and over those alone that data uses."""
    plain = match_columns(view.V, view.U, view.weight)
    filtered = match_columns(view.V, view.U, view.weight, alive_only=True)
    return {"mmcs": plain.mmcs, "ml2r": plain.ml2r, "mmcs_alive": filtered.mmcs, "ml2r_alive": filtered.ml2r}


@torch.no_grad()
def score_on_data(decomposition: Decomposition, batch: Tensor) -> Row:
    """What the parts do on a batch, as one flat row."""
    scene = decomposition.scene(batch)
    row: Row = {"faithfulness": float(average_residual(scene.residuals))}
    for module, g in scene.importance.lower.items():
        row[f"{module}/ci_l0"] = count_l0(g)
    for masking in ("ci", "stochastic", "zero"):
        drawn = scene.draw_masks(masking, generator=torch.Generator().manual_seed(0))
        row[f"recon_{masking}"] = float(scene.compare_output(scene.forward(drawn)))
    return row


# Scores against what a toy model is known to do: one component per feature, or so many that always act together.

Matrix = NDArray[np.float64]


def order_to_identity(importance: Matrix) -> NDArray[np.int64]:
    """The column order that brings the importances (features, C) closest to an identity."""
    rows = min(importance.shape)
    _, columns = linear_sum_assignment(-importance[:rows])
    rest = np.setdiff1d(np.arange(importance.shape[1]), columns)
    return np.concatenate([columns, rest])


def order_by_mass(importance: Matrix) -> NDArray[np.int64]:
    """Columns by falling mass."""
    return np.argsort(-importance.sum(0), kind="stable")


def count_identity_errors(importance: Matrix, n: int, tolerance: float) -> int:
    """Entries that differ from one component per feature: off the diagonal too large, on it too small."""
    rows, columns = importance.shape
    if rows != n:
        raise UsageError(f"The identity pattern is for {n} features, and the model has {rows}.")
    if columns < n:
        raise UsageError(f"The identity pattern needs at least {n} components, and there are {columns}.")
    ordered = importance[:, order_to_identity(importance)]
    diagonal = np.eye(rows, columns, dtype=bool)
    return int((ordered[~diagonal] > tolerance).sum() + (ordered[diagonal] < 1 - tolerance).sum())


def count_dense_errors(importance: Matrix, k: int, tolerance: float) -> int:
    """k columns must each reach one somewhere, all others must stay at zero."""
    if importance.shape[1] < k:
        raise UsageError(
            f"The dense pattern needs at least {k} components, and there are {importance.shape[1]}."
        )
    ordered = importance[:, order_by_mass(importance)]
    missing = (ordered[:, :k].max(0) < 1 - tolerance).sum()
    return int(missing + (ordered[:, k:] > tolerance).sum())


def find_owned_features(importance: Matrix, tolerance: float) -> NDArray[np.bool_]:
    """Features with exactly one important component that no other feature uses."""
    strong, touched = importance >= 1 - tolerance, importance > tolerance
    alone = touched.sum(0) == 1
    return (strong.sum(1) == 1) & (touched.sum(1) == 1) & (strong & alone).any(1)


@dataclass(frozen=True)
class Match:
    """How well single components give the columns of a weight matrix; one entry per input feature."""

    cosine: Tensor
    ratio: Tensor

    @property
    def mmcs(self) -> float:
        """Mean cosine of every true direction with its best part: rises with the number of parts by itself."""
        return float(self.cosine.mean())

    @property
    def ml2r(self) -> float:
        """Mean ratio of lengths: a part may point right and be too small."""
        return float(self.ratio.mean())


def match_columns(v: Tensor, u: Tensor, weight: Tensor, *, alive_only: bool = False) -> Match:
    """For each row of `weight` (features, d) the component v_c u_c that points most along it, and its relative length.

    `alive_only` leaves out components of negligible norm, which in two dimensions can win by accident.
    """
    norms = v.norm(dim=0) * u.norm(dim=1)
    keep = norms > ALIVE_SHARE * norms.max() if alive_only else torch.ones_like(norms, dtype=torch.bool)
    v, u = v[:, keep], u[keep]
    made = v[:, :, None] * u[None]  # (features, C, d)
    cosine = torch.cosine_similarity(made, weight[:, None], dim=-1)
    best, index = cosine.max(1)
    length = made.norm(dim=-1).gather(1, index[:, None])[:, 0]
    return Match(best, length / weight.norm(dim=-1))


def count_sizeable(v: Tensor, u: Tensor) -> int:
    """Components of non-negligible norm."""
    norms = v.norm(dim=0) * u.norm(dim=1)
    return int((norms > ALIVE_SHARE * norms.max()).sum())


# Components of modular addition as functions of the numbers: how much of each is a single frequency.
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
    profiles = list_profiles(parts, embedding, modulus)
    if not profiles:
        return None
    values = torch.stack([measure_concentration(profile) for profile in profiles]).mean(0)
    chosen = values if kept is None else values[kept]
    return float(chosen.mean()) if len(chosen) else 0.0


def measure_noise_concentration(modulus: int, n: int = 2000) -> float:
    """The same of white noise."""
    return float(
        measure_concentration(torch.randn(modulus, n, generator=torch.Generator().manual_seed(0))).mean()
    )
