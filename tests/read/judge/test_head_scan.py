import numpy as np
import pytest
import torch
from scipy.stats import norm

from digsite.base import settings
from digsite.base.errors import UsageError
from digsite.read.judge.head_scan import (
    HeadCalibration,
    chance_of_largest_score,
    fit_calibration,
    freedom_of,
    input_weights,
    robust_z,
    scan_head,
)
from digsite.weights import read_weights


def _head(classes, seed=0):
    return torch.randn(classes, 40, generator=torch.Generator().manual_seed(seed))


def test_a_planted_row_is_named_with_its_neurons():
    head = _head(60)
    head[17, 3:9] += 4.0
    found = scan_head(head)
    assert (
        found.suspect == 17
        and found.alarm
        and set(found.rows) <= set(range(3, 9))
        and "row 17 of 60" in found.answer
    )


def test_random_heads_give_few_alarms():
    assert np.mean([scan_head(_head(60, s)).alarm for s in range(200)]) <= 0.07


def test_ten_classes_are_too_few_and_it_says_so():
    assert "too few to tell" in scan_head(_head(10)).answer
    with pytest.raises(UsageError, match="at least three"):
        scan_head(_head(2))


def test_neurons_count_by_what_enters_them():
    assert input_weights(torch.tensor([[3.0, 4.0], [0.0, 1.0]]), 4) == pytest.approx(
        np.array([5, 5, 1, 1]) / 3
    )
    assert (input_weights(None, 3) == 1).all() and (input_weights(torch.ones(2, 2), 3) == 1).all()


def test_the_chance_of_the_largest_against_draws():
    rng = np.random.default_rng(0)
    drawn = rng.standard_t(freedom_of(30), size=(20_000, 30)).max(1)
    for z in (2.5, 3.5, 5.0):
        assert chance_of_largest_score(z, 30, HeadCalibration(1.0)) == pytest.approx(
            float((drawn >= z).mean()), abs=0.015
        )
    assert fit_calibration(1.3 * drawn[:300], 30).scale == pytest.approx(1.3, abs=0.15)


def test_robust_z_of_normal_numbers():
    z = robust_z(norm.ppf(np.linspace(0.001, 0.999, 999)))
    assert np.std(z) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("name", "target"), [("csaw_anonymous_1", 0), ("nad_s", 5), ("nad_t", None)])
def test_published_backdoors(name, target):
    folder = settings.data_dir()
    path = folder / "backdoored_nets" / f"{name}.safetensors" if folder else None
    if path is None or not path.exists():
        pytest.skip("the published networks are not at hand")
    tensors = read_weights(f"file:{path}").tensors
    head, feeding = (
        ("output.weight", "fc_2.weight") if "csaw" in name else ("fc.weight", "block3.layer.1.conv2.weight")
    )
    found = scan_head(tensors[head], tensors[feeding])
    assert found.alarm == (target is not None) and (target is None or found.suspect == target)
