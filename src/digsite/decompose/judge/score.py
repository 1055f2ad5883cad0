"""Scores of one member of a toy study, as one flat row: `linear1/mmcs`, `recovered`, ..."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch

import numpy as np
import torch
from torch import Tensor

from digsite.decompose.config import Truth
from digsite.decompose.core.decomposition import Components, Decomposition
from digsite.decompose.core.gating import USED
from digsite.decompose.core.losses.faithfulness import residual_mean
from digsite.decompose.judge import truth
from digsite.decompose.subjects.targets import PROBE

TOLERANCES = (0.1, 0.2)
Row = dict[str, float]


def wanted(patterns: Mapping[str, Truth], modules: list[str]) -> dict[str, Truth]:
    """The pattern of each module; the first that matches counts."""
    found = {m: next((t for pattern, t in patterns.items() if fnmatch(m, pattern)), None) for m in modules}
    return {m: t for m, t in found.items() if t is not None}


def probe_importance(found: Decomposition, n_features: int) -> dict[str, Tensor]:
    """(features, C) by module: importances when one feature at a time is on."""
    device = next(iter(found.params.values()))
    return found.importance(PROBE * torch.eye(n_features).to(device))


def pattern_errors(
    importance: Mapping[str, Tensor], patterns: Mapping[str, Truth], tolerance: float
) -> dict[str, int]:
    """Entries that differ from the known solution, by module; 0 everywhere is exact recovery."""
    errors = {}
    for module, pattern in wanted(patterns, list(importance)).items():
        values = importance[module].double().cpu().numpy()
        errors[module] = (
            truth.identity_error(values, pattern.identity, tolerance)
            if pattern.identity
            else truth.dense_error(values, pattern.dense, tolerance)
        )
    return errors


def feature_view(found: Decomposition, module: str, n_features: int) -> Components | None:
    """The module's components in feature coordinates (features, d), if it reads or writes features one by one."""
    parts = found.components(module)
    if parts.weight.shape[0] == n_features:
        return parts
    if parts.weight.shape[1] == n_features:
        return Components(parts.U.T, parts.V.T, parts.weight.T)
    embedding = getattr(found.model, "W_E", None)
    if embedding is not None and parts.weight.shape[0] == embedding.shape[1] != parts.weight.shape[1]:
        return Components(embedding @ parts.V, parts.U, embedding @ parts.weight)
    return None


def score(found: Decomposition, patterns: Mapping[str, Truth], batch: Tensor, n_features: int) -> Row:
    """Everything that a study says about one member."""
    probes = probe_importance(found, n_features)
    row: Row = {}
    for tolerance in TOLERANCES:
        errors = pattern_errors(probes, patterns, tolerance)
        row |= {f"{m}/error_{tolerance:g}": float(e) for m, e in errors.items()}
        row[f"error_{tolerance:g}"] = float(sum(errors.values()))
        row[f"recovered_{tolerance:g}"] = float(sum(errors.values()) == 0)
    row["features_recovered"] = _features_recovered(probes, patterns)
    for module in found.modules:
        row |= {
            f"{module}/{key}": value
            for key, value in _module_scores(found, module, probes, n_features).items()
        }
    return row | _on_data(found, batch)


def _features_recovered(probes: Mapping[str, Tensor], patterns: Mapping[str, Truth]) -> float:
    """Share of features with exactly one component of their own in every module with an identity pattern."""
    known = [m for m, t in wanted(patterns, list(probes)).items() if t.identity]
    owned = [truth.owned_features(probes[m].double().cpu().numpy(), 0.2) for m in known]
    return float(np.logical_and.reduce(owned).mean()) if owned else float("nan")


def _module_scores(found: Decomposition, module: str, probes: Mapping[str, Tensor], n_features: int) -> Row:
    parts = found.components(module)
    row: Row = {
        "components_of_size": float(truth.alive(parts.V, parts.U)),
        "alive_components": float((probes[module] > USED).any(0).sum()),
    }
    view = feature_view(found, module, n_features)
    if view is not None:
        row |= matches(view)
    return row


def matches(view: Components) -> Row:
    plain = truth.match_columns(view.V, view.U, view.weight)
    filtered = truth.match_columns(view.V, view.U, view.weight, alive_only=True)
    return {"mmcs": plain.mmcs, "ml2r": plain.ml2r, "mmcs_alive": filtered.mmcs, "ml2r_alive": filtered.ml2r}


@torch.no_grad()
def _on_data(found: Decomposition, batch: Tensor) -> Row:
    scene = found.scene(batch)
    row: Row = {"faithfulness": float(residual_mean(scene.residuals))}
    for module, g in scene.importance.lower.items():
        row[f"{module}/ci_l0"] = float((g > USED).sum(-1).float().mean())
    for masking in ("ci", "stochastic", "zero"):
        drawn = found.draw(scene, masking, generator=torch.Generator().manual_seed(0))
        row[f"recon_{masking}"] = float(scene.distance(scene.forward(drawn)))
    return row
