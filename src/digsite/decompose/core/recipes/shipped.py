"""Recipes that were found here."""

from __future__ import annotations

from typing import Any, ClassVar

from digsite.decompose.core.recipes import Recipe


class Transformers(Recipe):
    """The recipe for models that read tokens: faithful and nearly sparse from the first step, and never unfaithful after it.

    Compiled transformers have saturated attention and steep steps, and punish errors of a weight that toys forgive: with
    the original recipe their sums of parts never came near the network again. So parts begin as singular vectors turned
    to be sparse and are only mixed exactly; gates begin where a part is active; pressure on importances ends before
    training does, so that what is needed settles at one. What was tried is in
    docs/decisions/25-a-recipe-for-transformers.md.
    """

    FIELDS: ClassVar[dict[str, Any]] = {
        "C": "rank",
        "init": "sparse",
        "faithful": "exact",
        "delta": False,
        "gate": {"kind": "active"},
        "compare": "relative",
        "losses": {
            "smooth_l0": {"kind": "smooth_l0", "coeff": 1e-3, "width_final": 0.05, "rise": 0.1, "end": 0.8},
            "merged_recon": {"kind": "merged_recon"},
        },
        "clip": 1.0,
        "steps": 200,
        "batch": 128,
        "lr": 3e-3,
        "part_lr": 0.1,
        "beta2": 0.99,
        "schedule": {"kind": "half_cosine"},
    }
