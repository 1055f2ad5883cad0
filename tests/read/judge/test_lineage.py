import numpy as np
import pytest

from digsite.base.errors import UsageError
from digsite.read.judge.lineage import lineage


def _family():
    """A base, two fine-tunings, a pruned and a quantized child, a merge, and a stranger."""
    rng = np.random.default_rng(0)
    base = rng.standard_t(4, 4000)
    tuned = [base + 0.1 * rng.normal(size=4000) for _ in range(2)]
    pruned = np.where(np.abs(tuned[0]) < 0.5, 0, tuned[0])
    quantized = np.round(base * 8) / 8
    merged = (tuned[0] + tuned[1]) / 2
    return [base, *tuned, pruned, quantized, merged, rng.standard_t(4, 4000)]


def test_relations_and_their_kinds():
    found = lineage(_family())
    how = {e.child: e.how for e in found.edges}
    parent = {e.child: e.parent for e in found.edges}
    assert how[3] == "pruned" and parent[3] == 1
    assert how[4] == "quantized"
    assert how[5] == "merged" and {e.parent for e in found.edges if e.child == 5} == {1, 2}
    assert 6 in found.roots and len(found.roots) == 2


def test_independent_models_are_all_roots():
    rng = np.random.default_rng(0)
    assert len(lineage([rng.normal(size=500) for _ in range(4)]).roots) == 4


def test_sizes_must_agree():
    with pytest.raises(UsageError, match="one shape"):
        lineage([np.zeros(3), np.zeros(4)])
