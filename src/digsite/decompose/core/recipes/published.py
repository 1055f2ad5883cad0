"""Recipes by the names under which they are known: those that others have published, and the one that was found here."""

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


class Language(Recipe):
    """The recipe for models that speak the tokens they read: few parts a token, learned, and compared by KL.

    A trained language model is not the sum of few exact parts as a compiled program is: with the recipe above 64 of 64
    parts stay in use (docs/decisions/25-a-recipe-for-transformers.md). So the parts learn, what they leave out of a
    matrix is a residual that is off where importances decide, and one small gate looks at all parts of a matrix at once.
    """

    FIELDS: ClassVar[dict[str, Any]] = {
        "C": 64,
        "gate": {"kind": "shared", "hidden": [64]},
        "compare": "kl",
        "losses": {
            "importance_minimality": {"kind": "importance_minimality", "coeff": 1e-2, "p": 1},
            "stochastic_recon_subset": {"kind": "recon", "routing": "subset"},
            "ci_recon": {"kind": "recon", "masks": "ci"},
        },
        "steps": 1200,
        "batch": 8,
        "lr": 4e-3,
        "schedule": {"kind": "quarter_cosine", "warmup": 0.01},
    }
