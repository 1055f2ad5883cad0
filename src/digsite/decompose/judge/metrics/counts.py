"""How many components are used, how often, and whether they are those of the known solution."""

from typing import Literal

from digsite.base.errors import UsageError
from digsite.config import Field
from digsite.decompose.core.masks import USED, count_l0, find_alive, find_used
from digsite.decompose.judge.metrics import Metric, View
from digsite.decompose.judge.score import count_pattern_errors


class CiL0(Metric):
    """Components that matter at a position: the mean number with importance above a threshold, by module."""

    kind: Literal["ci_l0"] = "ci_l0"
    threshold: float = Field(
        default=USED, ge=0, lt=1, description="importance above which a component counts"
    )

    def measure(self, view: View) -> dict[str, float]:
        """Mean number of components per position whose importance is above the threshold."""
        counts = {m: count_l0(g, self.threshold) for m, g in view.importance.items()}
        row = {f"l0_{self.threshold:g}/{m}": n for m, n in counts.items()}
        return row | {f"l0_{self.threshold:g}/total": sum(counts.values())}


class AliveComponents(Metric):
    """Components that fire at least once on the evaluation batches, by module."""

    kind: Literal["alive_components"] = "alive_components"
    threshold: float = Field(default=USED, ge=0, lt=1, description="importance above which a component fires")

    def measure(self, view: View) -> dict[str, float]:
        """Components that are above it anywhere."""
        return {
            f"n_alive_{self.threshold:g}/{m}": float(find_alive(g, self.threshold).sum())
            for m, g in view.importance.items()
        }


class CiMeanPerComponent(Metric):
    """Mean importance of the most used components, by module."""

    kind: Literal["ci_mean_per_component"] = "ci_mean_per_component"
    top: int = Field(default=5, gt=0, description="how many of the largest are given")

    def measure(self, view: View) -> dict[str, float]:
        """The largest mean importances, in falling order: where they end is how many parts are used."""
        row = {}
        for module, g in view.importance.items():
            means = g.mean(0).sort(descending=True).values[: self.top]
            row |= {f"ci_mean/{module}/{i}": float(value) for i, value in enumerate(means)}
        return row


class ComponentActivationDensity(Metric):
    """Share of positions at which components fire: its mean over the components that fire at all, by module."""

    kind: Literal["component_activation_density"] = "component_activation_density"
    threshold: float = Field(default=USED, ge=0, lt=1, description="importance above which a component fires")

    def measure(self, view: View) -> dict[str, float]:
        """Mean share of positions at which a used component is used."""
        row = {}
        for module, g in view.importance.items():
            density = find_used(g, self.threshold).float().mean(0)
            row[f"density/{module}"] = float(density[density > 0].mean()) if (density > 0).any() else 0.0
        return row


class IdentityCiError(Metric):
    """Entries of the one-feature-at-a-time importances that differ from the known solution; 0 is exact recovery."""

    kind: Literal["identity_ci_error"] = "identity_ci_error"
    tolerances: list[float] = Field(
        default=[0.1, 0.2], min_length=1, description="distance from 0 or 1 that still counts as right"
    )

    def measure(self, view: View) -> dict[str, float]:
        """Entries of the importance pattern that differ from the known solution, for several tolerances."""
        if not view.n_features or not view.patterns:
            raise UsageError(
                "The metric 'identity_ci_error' needs a model whose features and solution are known.",
                hint="Give the study a truth, or leave the metric out.",
            )
        row = {}
        for tolerance in self.tolerances:
            errors = count_pattern_errors(view.probes, view.patterns, tolerance)
            row |= {f"target_solution_error_{tolerance:g}/{m}": float(e) for m, e in errors.items()}
            row[f"target_solution_error_{tolerance:g}/total"] = float(sum(errors.values()))
        return row
