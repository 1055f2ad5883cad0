"""Tables that several studies write."""

from collections.abc import Sequence

import pandas as pd

from digsite.prune.judge.verdict import Judged


def test_table(judged: Sequence[Judged]) -> pd.DataFrame:
    """One line per test: what was seen, what the null gives, how sure that is."""
    return pd.DataFrame(
        {
            "statistic": one.test.statistic,
            "axis": one.test.axis,
            "null": one.test.null,
            "observed": one.test.observed,
            "null mean": one.test.null_mean,
            "null std": one.test.null_std,
            "z": one.test.z,
            "effect": one.test.effect,
            "p": one.test.p,
            "q": one.q,
            "draws": one.test.draws,
        }
        for one in judged
    )


test_table.__test__ = False  # pyright: ignore[reportFunctionMemberAccess]
