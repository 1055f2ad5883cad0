import itertools

import numpy as np
import pytest
import torch

from digsite.base import settings
from digsite.base.errors import UsageError
from digsite.read.judge.lineage import trace_networks
from digsite.read.subjects.network import network_of
from digsite.weights import read_weights

SIZES = (40, 24, 24, 10)


def _fresh(g):
    return {
        f"{i}.weight": torch.randn(o, n, generator=g) for i, (n, o) in enumerate(itertools.pairwise(SIZES))
    }


@pytest.fixture(scope="module")
def family():
    """A root, two tuned children, a pruned grandchild, rounded, merged and exchanged ones, and a stranger."""
    g = torch.Generator().manual_seed(0)
    m = {"root": _fresh(g), "stranger": _fresh(g)}
    for name in ("one", "two"):
        m[name] = {k: t + 0.15 * torch.randn(t.shape, generator=g) for k, t in m["root"].items()}
    m["sparse"] = {k: torch.where(t.abs() < 0.5, 0.0, t) for k, t in m["one"].items()}
    m["short"] = {k: t.to(torch.bfloat16).float() for k, t in m["two"].items()}
    m["merged"] = {k: 0.6 * m["one"][k] + 0.4 * t for k, t in m["two"].items()}
    m["mixed"] = {**m["root"], "2.weight": m["stranger"]["2.weight"], "1.weight": m["stranger"]["1.weight"]}
    names = list(m)
    return names, trace_networks([network_of(n, m[n]) for n in names])


def test_edges_and_kinds(family):
    names, found = family
    edges = {(names[e.parent], names[e.child]): e for e in found.edges}
    assert edges["one", "sparse"].kind == "pruned" and edges["two", "short"].kind == "quantised"
    assert edges["one", "merged"].kind == edges["two", "merged"].kind == "merged"
    assert edges["root", "mixed"].kind == edges["stranger", "mixed"].kind == "grafted"
    assert all(e.p < 1e-3 for e in found.edges) and all(0 <= e.direction <= 1 for e in found.edges)


def test_strangers_are_roots():
    g = torch.Generator().manual_seed(3)
    found = trace_networks([network_of(str(i), _fresh(g)) for i in range(6)])
    assert found.edges == () and found.roots == tuple(range(6)) and np.isinf(found.distances[0, 1])


def test_one_model_is_too_few():
    with pytest.raises(UsageError, match="at least two"):
        trace_networks([network_of("a", {"w": torch.randn(3, 3)})])


def _stored(*parts):
    folder = settings.data_dir()
    path = folder.joinpath(*parts) if folder else None
    if path is None or not path.exists():
        pytest.skip("the published networks are not at hand")
    return network_of(parts[-1], read_weights(f"file:{path}").tensors)


def test_the_published_trio():
    s, t, e = (_stored("backdoored_nets", f"nad_{k}.safetensors") for k in "ste")
    found = trace_networks([s, t, e])
    assert {(x.parent, x.child): x.kind for x in found.edges} == {(0, 1): "fine-tuned", (0, 2): "repaired"}


def test_published_checkpoints_come_out_in_order():
    steps = [_stored("decompiled_gpt2", f"unique_copy_step{k}") for k in (1300, 1100, 1400, 1200)]
    found = trace_networks(steps)
    assert {(e.parent, e.child) for e in found.edges} == {(1, 3), (3, 0), (0, 2)}
    assert {e.kind for e in found.edges} == {"continued"}
