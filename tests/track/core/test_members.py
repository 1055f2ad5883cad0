"""A member tracked in an ensemble is the member tracked alone, with its own start."""

import torch

from digsite.models import build, parse
from digsite.track import EnsembleTracker
from digsite.track.subjects.tracked import pack_trackers, unpack_runs
from digsite.train import Member, train_ensemble

MODEL = build(parse({"kind": "mlp", "sizes": [5, 8, 3]}))
X, Y = torch.randn(60, 5, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3


def tracked(seeds: list[int]) -> EnsembleTracker:
    tracker = EnsembleTracker((X[:20], Y[:20]), every=4)
    members = [Member(seed=s, batch=10, steps=12) for s in seeds]
    train_ensemble(MODEL, (X, Y), members, callback=tracker, every=4)
    return tracker


def test_same_as_alone_and_seeds_differ() -> None:
    both, alone = tracked([1, 2]), tracked([2])
    (second,) = both.trackers[1].series("centered/stable_rank", "layers.0")
    (single,) = alone.trackers[0].series("centered/stable_rank", "layers.0")
    assert second.steps.tolist() == [0, 4, 8, 12]
    assert torch.allclose(torch.tensor(second.values), torch.tensor(single.values), rtol=1e-4)
    (first,) = both.trackers[0].series("centered/stable_rank", "layers.0")
    assert abs(first.values[0] - second.values[0]) > 1e-4


def test_packing_keeps_everything() -> None:
    tracker = tracked([1, 2])
    stored = pack_trackers(tracker.trackers, ["stable_rank", "cka_to_final"])
    runs = unpack_runs(stored, {"name": "a", "family": "mlp", "arch": "a", "dataset": "d"}, [1, 2])
    assert [r.name for r in runs] == ["a_seed1", "a_seed2"]
    for run, one in zip(runs, tracker.trackers, strict=True):
        for series in run.series("stable_rank"):
            (truth,) = one.series("stable_rank", series.layer)
            assert (series.values == truth.values).all() and series.depth == run.layers.index(series.layer)
        assert len(run.loss) == 4
