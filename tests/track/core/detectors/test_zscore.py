"""The original rule spends a fixed budget: 4.55 % of white noise, whatever is there."""

import numpy as np

from digsite.track.core.detectors import zscore


def test_marks_the_gaussian_tail_share() -> None:
    noise = np.random.default_rng(0).standard_normal((200, 400))
    share = np.mean([len(zscore.detect(row)) / 399 for row in noise])
    assert abs(share - 0.0455) < 0.002  # P(|z| > 2)
