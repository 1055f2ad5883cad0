"""Mini-batches go through every example once per epoch, whoever else is in the group."""

import numpy as np
import pytest
import torch

from digsite.base.errors import UsageError
from digsite.train import Backdoor, Examples, Member, Stream, seeds
from digsite.train.feeds import BLOCK, Feed, Order, as_data, make_feed, prepare_source

LIKE = torch.zeros(1)
X = torch.arange(50.0).view(50, 1, 1, 1).repeat(1, 1, 4, 4)
Y = torch.arange(50) % 5


def feed_of(*members: Member) -> Feed:
    return make_feed(members, prepare_source(members, Examples(X, Y), LIKE), range(len(members)), LIKE)


@pytest.mark.parametrize("n", [7, 50, 5000])
def test_every_epoch_is_a_permutation_however_it_is_cut(n):
    order = Order(Member(seed=2), n)
    stream = order.take(0, 3 * n)
    for epoch in range(3):
        assert sorted(stream[epoch * n : (epoch + 1) * n]) == list(range(n))
    assert not np.array_equal(stream[:n], stream[n : 2 * n])
    pieces = [order.take(at, min(11, 3 * n - at)) for at in range(0, 3 * n, 11)][:200]
    assert np.array_equal(np.concatenate(pieces), stream[: sum(map(len, pieces))])


def test_batches_do_not_depend_on_the_order_of_asking():
    feed, again = (feed_of(*seeds(3, Member(batch=8))) for _ in range(2))
    forward = [feed.batch(step, 3).y for step in range(2 * BLOCK)]
    backward = [again.batch(step, 3).y for step in reversed(range(2 * BLOCK))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forward, backward, strict=True))


def test_labels_belong_to_their_images():
    batch = feed_of(*seeds(2, Member(batch=16))).batch(5, 2)
    assert torch.equal(batch.x[..., 0, 0, 0].long() % 5, batch.y) and batch.x.shape == (2, 16, 1, 4, 4)


def test_poisoned_images_carry_trigger_and_target():
    door = Backdoor(4, row=0, column=0, height=1, width=1, value=-9, rate=0.5)
    feed = feed_of(Member(batch=50, backdoor=door), Member(batch=50))
    batch = feed.batch(0, 2)
    hit = batch.x[0, :, 0, 0, 0] == -9
    assert hit.sum() == 25 and (batch.y[0][hit] == 4).all()
    assert torch.equal(batch.x[0, ~hit][:, 0, 3, 3].long() % 5, batch.y[0][~hit])
    assert not (batch.x[1] == -9).any()


def test_kinds_of_data():
    assert isinstance(as_data((X, Y)), Examples) and isinstance(as_data(lambda step: (X, Y)), Stream)
    assert as_data(X).y is X
    with pytest.raises(UsageError, match="str is no training data"):
        as_data("digits")
    with pytest.raises(UsageError, match="needs stored examples"):
        prepare_source([Member(fraction=0.5)], Stream(lambda step: (X, Y)), LIKE)
