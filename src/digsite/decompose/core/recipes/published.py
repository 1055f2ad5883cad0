"""Recipes that others have published, by the names under which they are known."""

from __future__ import annotations

from typing import Any, ClassVar

from digsite.decompose.core.recipes import Recipe


class Spd(Recipe):
    """The original recipe (Bushnaq, Braun, Sharkey, "Stochastic parameter decomposition", 2025): DecomposeConfig as it is."""

    FIELDS: ClassVar[dict[str, Any]] = {}


class Successor(Recipe):
    """The successor project's published toy recipe: smooth L0, a frequency term, and a merged loss with a persistent adversary.

    Published for 20,000 steps of 4,096 rows and a layerwise vector gate of 50; coefficients are those of `tms_5-2`.
    """

    FIELDS: ClassVar[dict[str, Any]] = {
        "C": 20,
        "gate": {"kind": "vector", "hidden": 50},
        "losses": {
            "faithfulness": {"kind": "faithfulness", "coeff": 1.0},
            "smooth_l0": {"kind": "smooth_l0", "coeff": 8e-4, "width": 1.0, "width_final": 0.01},
            "frequency": {"kind": "frequency", "coeff": 4e-4, "positions": 32_768},
            "merged_recon": {
                "kind": "merged_recon",
                "subset": 1.0,
                "bare": 0.0,
                "adversarial": 0.5,
                "pool": 4096,
            },
        },
        "faithfulness_warmup": {"steps": 200, "lr": 0.01},
        "clip": 1.0,
        "steps": 20_000,
        "batch": 4096,
        "lr": 1e-3,
        "schedule": {"kind": "half_cosine", "final": 0.1},
    }
