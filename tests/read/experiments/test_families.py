import numpy as np
import torch

from digsite.read.experiments.families import compare_edges, relate_strangers
from digsite.read.judge.lineage import Lineage
from digsite.read.judge.trios import Edge
from digsite.read.subjects.families import MadeFamily


def _family():
    made = MadeFamily("r")
    made.add("root", {"w": torch.ones(2, 2)})
    made.add("child", {"w": torch.ones(2, 2)}, "pruned", ("root",))
    made.add("copy", {"w": torch.ones(2, 2)}, "permuted copy", ("root",))
    return made


def _edge(parent, child, kind):
    return Edge(parent, child, kind, 1e-9, 0.9, 0.1, 0.9)


def test_right_wrong_and_undirected_edges():
    names = ["root", "child", "copy"]
    traced = Lineage((1,), (_edge(1, 0, "pruned"), _edge(2, 0, "permuted copy")), {}, np.zeros((3, 3)))
    rows = {r["child"]: r for r in compare_edges("r", 0, _family(), names, traced)}
    assert rows["child"]["found"] and not rows["child"]["directed"] and rows["child"]["named"]
    assert rows["copy"]["found"] and rows["copy"]["directed"], "a copy in another order has no direction"
    missing = compare_edges("r", 0, _family(), names, Lineage((0, 1, 2), (), {}, np.zeros((3, 3))))
    assert not any(r["found"] or r["directed"] or r["named"] for r in missing)


def test_strangers_are_paired_across_families():
    g = torch.Generator().manual_seed(0)
    made = [MadeFamily("r"), MadeFamily("r")]
    for family in made:
        for name in ("root", "stranger"):
            family.add(name, {f"{i}.weight": torch.randn(12, 12, generator=g) for i in range(3)})
    found = relate_strangers("r", made)
    assert len(found) == 6 and all(0 < r["p"] <= 1 for r in found)
