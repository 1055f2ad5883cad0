from dataclasses import replace

import pytest
import torch

from digsite.base.errors import NotFound, UsageError
from digsite.graft.core.operate import (
    blank_copy,
    make_sides,
    plan_method,
    rebuild_donor,
    run_operation,
    send_whole_donor,
)
from digsite.graft.judge.compare import Unlisted, as_dict, enter_line


def test_a_plan_is_a_name_with_options():
    chosen = plan_method("ridge_all data=au n_images=10", strength=0.5)
    assert (
        chosen.label == "ridge_all_data=au_n_images=10_strength=0.5" and chosen.method.settings.n_images == 10
    )
    assert str(chosen.budget) == "au"


def test_a_method_that_is_not_there():
    with pytest.raises(NotFound, match="Did you mean 'cascade'"):
        plan_method("cascad")


@pytest.mark.parametrize(
    ("text", "says"), [("union logit", "key=value"), ("union rule=best", "Option 'rule'")]
)
def test_options_that_cannot_be_read(text, says):
    with pytest.raises(UsageError, match=says):
        plan_method(text)


def test_no_shared_class_for_a_method_that_needs_one(room):
    alone = replace(room.pair, shared=())
    with pytest.raises(UsageError, match="needs a shared class"):
        run_operation(plan_method("ridge_all data=s"), alone, room.pools, None)


def test_a_common_start_is_asked_for(room):
    with pytest.raises(UsageError, match="fine-tuned"):
        run_operation(plan_method("task_arithmetic"), room.pair, room.pools, None)


def test_neither_side_sees_the_others_weights(room):
    donor, receiver = make_sides(plan_method("union"), room.pair, room.pools, 0)
    for model in (donor.pair.receiver, receiver.pair.donor):
        assert all(not p.any() for p in model.parameters())
    assert any(p.any() for p in room.pair.donor.parameters())


def test_the_donor_is_put_together_from_the_message(room):
    donor, receiver = make_sides(plan_method("union"), room.pair, room.pools, 0)
    x = torch.randn(3, 1, 8, 8)
    again = rebuild_donor(receiver, send_whole_donor(donor))
    torch.testing.assert_close(again(x), room.pair.donor(x))
    assert torch.equal(blank_copy(room.pair.donor)(x), torch.zeros(3, 10))


def test_without_ablation_no_line(room):
    done = run_operation(plan_method("union"), room.pair, room.pools, room.scorer, ablate=False)
    assert done.ablation is None and done.outcome is not None
    with pytest.raises(Unlisted):
        enter_line(done, done.outcome)


def test_a_line_says_what_crossed(room):
    done = run_operation(plan_method("ridge_all data=s n_images=50"), room.pair, room.pools, room.scorer)
    assert done.outcome is not None
    line = as_dict(enter_line(done, done.outcome, {9: 10.0}))
    assert line["budget"] == "s" and line["images_read"] == "s:50"
    assert line["bytes_crossed"] == sum(p.numel() * 4 for p in room.pair.donor.parameters())
    assert line["gain"] == 0 and not line["is_void"]
    assert line["from_donor"] == line["calibrated_transfer"] - line["noise_calibrated_transfer"]
    assert line["collateral"] == done.outcome.called_new[9] - 10


def test_a_leak_makes_a_line_void(room):
    from digsite.graft.core.task import make_pools

    leaking = make_pools(room.data, room.classes, leak=True)
    done = run_operation(
        plan_method("aligned_spatial leak=true epochs=1 steps=2"), room.pair, leaking, room.scorer
    )
    assert done.outcome is not None and enter_line(done, done.outcome).is_void
