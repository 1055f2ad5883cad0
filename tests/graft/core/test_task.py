import pytest
import torch

from digsite.base.errors import UsageError
from digsite.data import load
from digsite.graft import graft
from digsite.graft.core.access import Access, AccessBudget, BudgetViolation
from digsite.graft.core.nets import predict_logits
from digsite.graft.core.operate import plan_method, run_operation
from digsite.graft.core.task import (
    CALIBRATION,
    Classes,
    Scorer,
    calibrate_model,
    check_knowledge,
    split_images,
)
from digsite.graft.subjects.couples import TrainingRecipe, train_blind_donor
from digsite.graft.subjects.theatre import cut_images_per_class

CLASSES = Classes((0, 1, 2, 3), (2, 3), (4,), (5,))


def rows(images) -> set[bytes]:
    return {row.numpy().tobytes() for row in images.x}


def test_nobody_sees_what_is_held_out(room):
    held, test = rows(room.data.held), rows(room.data.test)
    for pool in (room.pools.old, room.pools.shared, room.pools.proxy, room.pools.donor, room.pools.new):
        assert not rows(pool) & held and not rows(pool) & test


def test_each_pool_holds_its_classes(room):
    found = {
        name: set(getattr(room.pools, name).y.tolist())
        for name in ("old", "held_old", "shared", "proxy", "donor", "new")
    }
    assert found == {
        "old": {0, 1, 2, 3},
        "held_old": {0, 1, 2, 3},
        "shared": {2, 3},
        "proxy": {6, 7, 8, 9},
        "donor": {2, 3, 4, 5},
        "new": {4},
    }
    assert room.pools.leak is None


def test_every_class_gives_its_share_to_the_held_out(room):
    for c in range(10):
        held, train = (int((part.y == c).sum()) for part in (room.data.held, room.data.train))
        assert held / (held + train) == pytest.approx(0.16, abs=0.01)


def test_pixels_are_standardized_by_the_training_set(room):
    x = torch.cat([room.data.train.x, room.data.held.x])
    assert abs(float(x.mean())) < 1e-4 and abs(float(x.std()) - 1) < 1e-3
    assert room.pools.frame.low == pytest.approx(float(x.min()), abs=1e-5)


def test_raw_pixels_stay(room):
    from digsite.data import load

    assert float(split_images(load("digits"), 0, standard=False).train.x.max()) == 1


def test_two_seeds_hold_out_different_images(room):
    from digsite.data import load

    assert rows(split_images(load("digits"), 1).held) != rows(room.data.held)


def test_the_scorer_knows_the_receiver(room):
    alone = room.scorer(room.pair.receiver)
    assert alone.raw.preservation > 90 and alone.raw.transfer == 0
    assert room.scorer.accuracy_on(room.pair.donor, [4]) > 80
    called = room.scorer.score_outputs(
        torch.eye(10)[[4] * len(room.scorer._y)], torch.eye(10)[[0] * CALIBRATION]
    )
    assert called.raw.transfer == 100 and called.raw.preservation == 0


def test_calibration_holds_on_its_own_images(room):
    from digsite.graft.core.nets import predict_logits

    out = room.scorer(room.pair.receiver)
    held = predict_logits(room.pair.receiver, room.pools.held_old.x)
    held[:, 4] += out.shift
    assert (held.argmax(1) == 4).float().mean().item() == pytest.approx(0.02, abs=0.02)


def test_the_rate_of_false_alarms_is_the_one_asked_for(room):
    few, many = (Scorer(room.data, CLASSES, rate=rate)(room.pair.receiver) for rate in (0.02, 0.2))
    assert many.shift > few.shift and many.calibrated.preservation < few.calibrated.preservation
    assert many.calibrated.transfer >= few.calibrated.transfer


def test_donor_and_receiver_must_differ_in_what_they_know(room):
    with pytest.raises(UsageError, match="donor does not know class 4"):
        check_knowledge(room.validation, room.pair.receiver, room.pair.receiver)
    with pytest.raises(UsageError, match="receiver already knows class 4"):
        check_knowledge(room.validation, room.pair.donor, room.pair.donor)


class Constant(torch.nn.Module):
    """Answers one class to everything, as an untrained network nearly does."""

    def __init__(self, says: int) -> None:
        super().__init__()
        self.read = torch.nn.Linear(64, 10)
        self.read.weight.data.zero_()
        self.read.bias.data = torch.eye(10)[says]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.read(x.flatten(1))


@pytest.mark.parametrize("says", [4, 7])
def test_refusal_of_a_constant_donor(room, says):
    """One lucky constant output once passed as knowledge of the class; so did any, where no other class was named."""
    sentence = f"answers class {says} to every image, whatever is on it"
    with pytest.raises(UsageError, match=sentence):
        check_knowledge(room.validation, room.pair.receiver, Constant(says))
    alone = Scorer(room.data, Classes((0, 1, 2, 3), (), (4,), ()), validation=True)
    with pytest.raises(UsageError, match=sentence):
        check_knowledge(alone, room.pair.receiver, Constant(says))
    with pytest.raises(UsageError, match=sentence):
        graft(Constant(says), room.pair.receiver, data=room.data)


def test_refusal_of_a_donor_that_answers_the_class_for_almost_everything(room):
    nearly = Constant(4)
    draw = torch.Generator().manual_seed(0)
    nearly.read.weight.data[3] = 0.05 * torch.randn(64, generator=draw)  # a few images are called 3
    with pytest.raises(UsageError, match="of its other classes 4 as well"):
        check_knowledge(room.validation, room.pair.receiver, nearly)


def test_refusal_of_a_donor_that_never_saw_the_class(room):
    """A class-blind donor of the same recipe: trained, and right about everything but the class that is wanted."""
    blind = train_blind_donor(
        "simple", room.data, CLASSES, 0, TrainingRecipe(batch=64, least=150, epochs=1, lr=3e-3)
    )
    assert room.scorer.accuracy_on(blind, [2, 3, 5]) > 80
    with pytest.raises(UsageError, match=r"donor does not know class 4: it names \d+ %"):
        check_knowledge(room.validation, room.pair.receiver, blind)


def test_a_data_set_without_a_class():
    from dataclasses import replace

    images = load("digits")
    keep = images.y_train != 7
    with pytest.raises(UsageError, match="no training image of class 7"):
        split_images(replace(images, x_train=images.x_train[keep], y_train=images.y_train[keep]), 0)


def test_a_class_of_one_image_cannot_be_split():
    with pytest.raises(UsageError, match="has one training image, and one of each class is set aside"):
        split_images(cut_images_per_class(load("digits"), 1), 0)


def test_strangers_are_classes_neither_saw(room):
    assert set(room.scorer.count_strangers(room.pair.donor)) == {6, 7, 8, 9}
    assert Classes((0, 1), (1,), (4,), (5,)).donor == (1, 4, 5)
    assert isinstance(room.scorer, Scorer)


@pytest.mark.parametrize(
    "text", ["null_dead_row", "union", "union rule=guarded", "ridge_all data=s", "branch data=s"]
)
def test_the_rate_is_reached_whatever_the_graft_is_made_of(room, text):
    model = run_operation(plan_method(text), room.pair, room.pools, None, lens=room.lens).model
    access = Access(room.pools, AccessBudget.parse_letters("a"))
    moved = calibrate_model(model, [4], access, rate=0.1)
    held = room.pools.held_old.x
    assert (predict_logits(moved, held).argmax(1) == 4).float().mean().item() == pytest.approx(0.1, abs=0.03)
    assert (predict_logits(model, held)[:, :4] - predict_logits(moved, held)[:, :4]).abs().max() < 1e-5


def test_calibration_needs_the_receivers_images(room):
    with pytest.raises(BudgetViolation):
        calibrate_model(room.pair.receiver, [4], Access(room.pools, AccessBudget.parse_letters("w")))
