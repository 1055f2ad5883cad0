"""Statistics of a mask against draws from a null model: p, z, effect, and the false discovery rate over many tests."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.stats import false_discovery_control

from digsite.base import families
from digsite.base.contract import Numbers, public_method
from digsite.base.errors import UsageError, name_nearest
from digsite.prune.core.packed import PackedMask, features_of
from digsite.prune.judge.nulls import Observed
from digsite.prune.judge.views import View

NULLS = "digsite.prune.judge.nulls"
STATISTICS = "digsite.prune.judge.statistics"
DEFAULT = ("top_singular", "nearest_phi", "phi_spread")


@dataclass(frozen=True)
class Test:
    """One statistic against one null. p = (1 + #as extreme) / (draws + 1); effect = observed / null mean - 1."""

    __test__ = False  # not a test case, whatever a test collector thinks of the name

    statistic: str
    null: str
    axis: str
    observed: float
    null_mean: float
    null_std: float
    p: float
    draws: int

    @property
    def as_extreme(self) -> int:
        """Draws at least as extreme as what was seen."""
        return round(self.p * (self.draws + 1)) - 1

    @property
    def z(self) -> float:
        """0 where the null does not vary: then it says nothing."""
        return (self.observed - self.null_mean) / self.null_std if self.null_std > 0 else 0.0

    @property
    def effect(self) -> float:
        return self.observed / self.null_mean - 1 if self.null_mean else 0.0


def judge(statistic: str, null: str, axis: str, observed: float, drawn: Iterable[float], tail: str) -> Test:
    values = np.asarray(list(drawn), dtype=float)
    # Equal up to rounding is "as extreme": an invariant statistic must not come out as significant.
    slack = 1e-9 * max(abs(observed), 1e-300)
    extreme = (values >= observed - slack) if tail == "upper" else (values <= observed + slack)
    p = (1 + int(extreme.sum())) / (len(values) + 1)
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    spread = spread if spread > 1e-12 * abs(float(values.mean())) else 0.0
    return Test(statistic, null, axis, float(observed), float(values.mean()), spread, p, len(values))


@public_method(mask=Numbers(2, arrays_only=False))
def null_test(
    mask: np.ndarray | PackedMask,
    null: str = "margins",
    axis: str = "columns",
    statistics: Iterable[str] = DEFAULT,
    draws: int = 99,
    seed: int = 0,
    *,
    observed: Observed | None = None,
    engine: str = "auto",
) -> list[Test]:
    """Test every statistic of a mask's features against `draws` masks of a null model.

    `observed` brings what the null 'reprune' needs: weights, and how they were pruned.
    """
    members = _chosen(STATISTICS, statistics)
    model = _chosen(NULLS, [null])[null]
    packed = features_of(mask, "rows")
    source = observed or Observed(packed, engine=engine)
    if draws < 1:
        raise UsageError(f"{draws} null draws were asked for; a p-value needs at least 19 to reach 0.05.")
    seen = _all(members, packed, axis, engine)
    drawn = [_all(members, draw, axis, engine) for draw in model.draws(source, draws, seed)]
    return [
        judge(name, null, axis, seen[name], [values[name] for values in drawn], members[name].TAIL)
        for name in members
    ]


def _all(members: dict, mask: PackedMask, axis: str, engine: str) -> dict[str, float]:
    view = View(features_of(mask, axis), engine)
    return {name: member.compute(view) for name, member in members.items()}


def _chosen(family: str, wanted: Iterable[str]) -> dict:
    known = families.list_members(family)
    chosen = list(wanted)
    for name in chosen:
        if name not in known:
            raise UsageError(
                f"There is no {family.rsplit('.', 1)[1].rstrip('s')} '{name}'. {name_nearest(name, known)}"
            )
    members = families.scan_family(family)
    return {name: members[name] for name in chosen}


def adjusted(tests: list[Test]) -> list[float]:
    """Benjamini-Hochberg q-values, over every test made."""
    return false_discovery_control([test.p for test in tests]).tolist() if tests else []
