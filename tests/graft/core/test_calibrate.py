import pytest

from digsite.graft.core.access import Access, Budget, BudgetViolation
from digsite.graft.core.calibrate import calibrated
from digsite.graft.core.nets import predict
from digsite.graft.core.operate import operate, plan


@pytest.mark.parametrize(
    "text", ["null_dead_row", "union", "union rule=guarded", "ridge_all data=s", "branch data=s"]
)
def test_the_rate_is_reached_whatever_the_graft_is_made_of(room, text):
    model = operate(plan(text), room.pair, room.pools, None, lens=room.lens).model
    access = Access(room.pools, Budget.parse("a"))
    moved = calibrated(model, [4], access, rate=0.1)
    held = room.pools.held_old.x
    assert (predict(moved, held).argmax(1) == 4).float().mean().item() == pytest.approx(0.1, abs=0.03)
    assert (predict(model, held)[:, :4] - predict(moved, held)[:, :4]).abs().max() < 1e-5


def test_calibration_needs_the_receivers_images(room):
    with pytest.raises(BudgetViolation):
        calibrated(room.pair.receiver, [4], Access(room.pools, Budget.parse("w")))
