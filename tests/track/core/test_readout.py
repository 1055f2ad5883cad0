"""All measures of one table, and the warning where the probe is the limit."""

import pytest
import torch

from digsite.track import spectra
from digsite.track.core.readout import measure_family


def test_every_member_is_there_raw_and_centered() -> None:
    found = spectra(torch.randn(200, 12), warn=False)
    assert set(measure_family()) <= set(found)
    assert {f"centered/{name}" for name in measure_family()} <= set(found)
    assert {"mean_share", "two_nn"} <= set(found)


def test_warns_when_rows_bound_the_dimension() -> None:
    with pytest.warns(UserWarning, match="bounded by the rows"):
        spectra(torch.randn(40, 300))


def test_centering_can_matter() -> None:
    shifted = torch.randn(300, 10) + 50
    found = spectra(shifted, warn=False)
    assert found["stable_rank"] < 1.1
    assert found["centered/stable_rank"] > 5
    assert found["mean_share"] > 0.99
