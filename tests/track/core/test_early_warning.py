"""A score that is learned on some runs and asked on others, online and without their future."""

import numpy as np
import pytest

from digsite.track.core.early_warning import (
    choose_threshold,
    first_alarm,
    learn_warning,
    mode_residual,
    online_features,
    sustained_high,
)

STEPS = np.arange(0, 1000, 20.0)


def watched(seed: int, groks: bool) -> dict[str, np.ndarray]:
    """Norms that fall where a transition is coming, and drift elsewhere."""
    rng = np.random.default_rng(seed)
    fall = np.clip((STEPS - 200) / 600, 0, 1) * (0.8 if groks else 0.1)
    noise = 0.02 * rng.standard_normal((2, len(STEPS)))
    return {"norm": 50 * np.exp(-fall + noise[0]), "loss": 0.1 * np.exp(noise[1])}


def test_features_use_the_past_alone_and_have_no_unit() -> None:
    measures = watched(0, True)
    whole = online_features(STEPS, measures)
    part = online_features(STEPS[:30], {n: v[:30] for n, v in measures.items()})
    np.testing.assert_allclose(whole[:30], part)
    np.testing.assert_allclose(whole, online_features(7 * STEPS, {n: 3 * v for n, v in measures.items()}))
    assert np.isnan(whole[:3]).all() and np.isfinite(whole[3:]).all()


def test_a_learned_score_tells_new_runs_apart() -> None:
    runs = [watched(i, i % 2 == 0) for i in range(12)]
    features = [online_features(STEPS, m) for m in runs]
    answers = [np.full(len(STEPS), float(i % 2 == 0)) for i in range(12)]
    model = learn_warning(features, answers, ("norm", "loss"))
    new = [model.score_features(online_features(STEPS, watched(100 + i, i % 2 == 0))) for i in range(10)]
    assert min(s[25:40].mean() for s in new[::2]) > max(s[25:40].mean() for s in new[1::2])
    threshold = choose_threshold([model.score_features(f) for f in features[1::2]])
    assert (
        sum(first_alarm(STEPS, s, threshold) is not None for s in new[1::2]) <= 2
    )  # of five; the level is set on six
    alarms = [first_alarm(STEPS, s, threshold) for s in new[::2]]
    assert all(a is not None and a < 800 for a in alarms)


def test_an_alarm_takes_two_samples() -> None:
    scores = np.array([np.nan, 0, 5, 0, 5, 5, 0.0])
    assert first_alarm(np.arange(7.0), scores, 1.0) == 5
    assert sustained_high(scores) == 5 and sustained_high(np.full(3, np.nan)) == -np.inf


def test_dynamic_modes_continue_waves_and_not_noise() -> None:
    t = np.arange(60)
    wave = np.stack([np.sin(t / 3), np.cos(t / 3)], 1)
    noise = np.random.default_rng(0).standard_normal((60, 2))
    assert np.nanmax(mode_residual(wave)) < 1e-3 < 0.3 < np.nanmin(mode_residual(noise))
    assert np.isnan(mode_residual(wave)[:19]).all() and mode_residual(wave)[19] == pytest.approx(0, abs=1e-3)
