"""The original recipe (Bushnaq, Braun, Sharkey, "Stochastic parameter decomposition", 2025): DecomposeConfig as it is."""

from typing import Any

SETTINGS: dict[str, Any] = {}
