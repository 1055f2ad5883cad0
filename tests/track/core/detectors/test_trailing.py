"""The successor's rule: several detections for one step, because the window needs time to forget."""

import numpy as np

from digsite.track.core.detectors import trailing


def test_one_step_is_reported_several_times() -> None:
    rng = np.random.default_rng(0)
    values = np.r_[rng.standard_normal(100), 10 + rng.standard_normal(100)]
    near = [c for c in trailing.detect(values) if 100 <= c.index < 110]
    assert len(near) > 1
