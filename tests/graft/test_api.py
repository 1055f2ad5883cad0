import pytest
import torch

from digsite.base.errors import UsageError
from digsite.graft import Pair, graft, inspect
from digsite.graft.core.nets import predict_logits


def test_with_data_a_graft_fills_its_ledger(room):
    done = graft(room.pair, "ridge_all data=s n_images=80", room.data)
    assert done.ledger is not None and done.ledger.budget == "s"
    assert done.ledger.null_transfer <= 100 and done.ledger.bytes_crossed > 0


def test_without_data_the_weights_must_do(room):
    done = graft(room.pair, "union")
    assert done.ledger is None and predict_logits(done.model, room.data.test.x[:3]).shape == (3, 10)
    with pytest.raises(UsageError, match="needs data"):
        graft(room.pair, "ridge_all", strength=0.1)
    with pytest.raises(UsageError, match="Calibration needs data"):
        graft(room.pair, "union", calibrate=True)


def test_calibration_is_a_step_of_its_own(room):
    held = room.pools.held_old.x
    plain = graft(room.pair, "ridge_all data=u", room.data)
    moved = graft(room.pair, "ridge_all data=u", room.data, calibrate=True)
    gap = predict_logits(moved.model, held) - predict_logits(plain.model, held)
    assert torch.allclose(gap[:, :4], torch.zeros(()), atol=1e-5)
    assert float(gap[:, 4].std()) < 1e-3 and abs(float(gap[:, 4].mean())) > 1e-3
    assert plain.ledger == moved.ledger or plain.ledger.transfer == moved.ledger.transfer


def test_classes_of_the_readme(room):
    a, b = room.pair.receiver, room.pair.donor
    pair = Pair(receiver=a, donor=b, old=[0, 1, 2, 3], shared=[2, 3], new=[4], foreign=[5])
    assert graft(pair, method="cascade").model is not a
    assert [r.layer for r in inspect(a)] == [1, 2]


def test_two_new_classes_at_once(room):
    pair = Pair(room.pair.donor, room.pair.receiver, new=(4, 5), foreign=())
    done = graft(pair, "union", room.data)
    assert done.ledger is not None and done.ledger.transfer > 50
    called = predict_logits(done.model, room.data.test.of_classes((4, 5)).x).argmax(1)
    assert {4, 5} <= set(called.tolist())


def test_a_sequence_of_classes(room):
    """4 first, then 5 onto what came out; both are named in the end."""
    first = graft(Pair(room.pair.donor, room.pair.receiver, new=(4,), foreign=(5,)), "union").model
    second = graft(
        Pair(room.pair.donor, first, old=(0, 1, 2, 3, 4), shared=(2, 3, 4), new=(5,), foreign=()), "union"
    ).model
    test = room.data.test.of_classes((4, 5))
    right = (predict_logits(second, test.x).argmax(1) == test.y).float().mean()
    assert right > 0.6


def test_what_comes_back_shares_nothing_with_the_callers_networks(room):
    done = graft(room.pair, "ridge_all data=s n_images=50", room.data).model
    x = room.data.test.x[:5]
    before = predict_logits(room.pair.receiver, x)
    for p in done.parameters():
        p.data.zero_()
    assert torch.equal(predict_logits(room.pair.receiver, x), before)
