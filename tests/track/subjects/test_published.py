"""The published numbers, bit for bit, from the published series; repairs and claims."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from digsite.base.errors import NotFound
from digsite.track.subjects import published


def test_the_published_jumps_are_reproduced_one_by_one(data_dir: Path) -> None:
    folder = data_dir / "ndt_runs"
    found = published.jump_table(published.load_runs(folder), published.RECORDED)
    assert len(found) == 2991
    assert found.family.value_counts().to_dict() == {"transformer": 1598, "mlp": 1096, "cnn": 297}
    stated = pd.read_csv(folder / "published" / "all_jumps_detailed.csv")
    keys = ["experiment", "layer", "published_step"]
    ours = set(map(tuple, found[keys].to_numpy()))
    theirs = set(map(tuple, stated.rename(columns={"step": "published_step"})[keys].to_numpy()))
    assert ours == theirs
    merged = stated.merge(
        found, left_on=["experiment", "layer", "step"], right_on=keys, suffixes=("", "_ours")
    )
    assert (merged.magnitude == merged.magnitude_ours).all()
    assert (found.step == 5 * found.published_step).all()
    assert len(published.jump_table(published.load_runs(folder), "stable_rank")) == 7025


def test_the_repair_is_exact() -> None:
    singular = np.sort(np.random.default_rng(0).random(30))[::-1]
    ratio = singular.sum() / singular[0]
    participation = singular.sum() ** 2 / (singular**2).sum()
    truth = (singular**2).sum() / singular[0] ** 2
    assert published.repaired_stable_rank(ratio, participation) == pytest.approx(truth, rel=1e-12)


def test_lenient_json() -> None:
    assert published.lenient_json('{"a": NaN, "b": [1, -Infinity]}') == {"a": None, "b": [1, None]}


def test_the_lenient_rule_calls_anything_calm_stable_at_once() -> None:
    drifting = 1 + 0.001 * np.arange(400)
    assert published.original_stabilization(drifting) == 0
    assert drifting[-1] / drifting[0] > 1.39
    assert len(published.original_jumps(np.ones(100))) == 0


def test_missing_series_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="published series are not in"):
        published.load_runs(tmp_path)


def test_a_published_run_is_drawn_like_one_of_our_own():
    """One heat map per run, as the original drew, of the repaired series."""
    from digsite.track.figures.courses import layer_heatmap
    from digsite.track.subjects import published

    (run, *_) = published.train_small_runs(0, 60, 5)
    tracked = published.as_tracked(run, "stable_rank")
    assert tracked.values["stable_rank"].shape == (len(tracked.layers), len(tracked.steps))
    figure = layer_heatmap(tracked, "stable_rank", [])
    assert len(figure.axes[0].get_yticklabels()) == len(run.layers)
