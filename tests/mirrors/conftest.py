"""A finished run, and what its claims are as flat numbers."""

import pytest

from digsite.mirrors.follow import claim_numbers
from digsite.record import create_run
from digsite.record.marks import change_marks
from digsite.record.results import Claim, Results, write_results


@pytest.fixture
def finished(tmp_path):
    from digsite.worker.execute import How, execute_run

    run = create_run(
        tmp_path, {"study": "countdown", "method": "countdown.countdown", "config": {"steps": 3}}
    )
    assert execute_run(run, How(device="cpu", quiet=True)) == 0
    return run


@pytest.fixture
def claimed(finished):
    """A claim with interval and null, a measurement, a tag and a star; the numbers that a tracker has to tell."""
    claims = (
        Claim("share (Ŵ, 50 %)=right", 0.9, 0.8, 1.0, 5, 0.5, kind="share", title="Share"),
        Claim("count", 3.0),
    )
    told = Results("countdown", "So.", claims, headline=(claims[0].name,))
    write_results(finished.results, told)
    change_marks(finished, add=["good one"], star=True)
    return claim_numbers(told)
