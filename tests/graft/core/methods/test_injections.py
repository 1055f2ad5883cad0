import pytest
import torch

from digsite.base.errors import UsageError
from digsite.graft.core import injection
from digsite.graft.core.operate import make_sides, plan_method
from digsite.graft.core.pair import Message, Pair


def both(room, text):
    return make_sides(plan_method(text), room.pair, room.pools, 0, room.lens)


def test_only_the_most_specific_codes_stay():
    message = Message(
        {
            "center/4": torch.tensor([1.0, 5, 2]),
            "center/2": torch.tensor([1.0, 1, 0]),
            "center/3": torch.tensor([1.0, 1, 0]),
        }
    )
    assert injection.keep_specific(message, 4, (2, 3), 1).tolist() == [0, 5, 0]


def test_free_space_is_where_codes_do_not_move():
    z = torch.randn(200, 4) * torch.tensor([5.0, 1, 0.01, 3])
    free = injection.find_free_space(z, 1)
    assert abs(free[0, 2]) > 0.99


def test_the_published_rotation_is_the_transpose(room):
    text = "vector_space epochs=1 width=8"
    donor, receiver = both(room, text)
    chosen, published = (plan_method(f"{text} {word}").method for word in ("", "as_published=true"))
    message = injection.send_codes(donor, 8, 1)
    sae = injection.train_bottleneck(receiver, 8, 1)
    right, wrong = (method.turn_concept(receiver, sae, message) for method in (chosen, published))
    assert not torch.allclose(right, wrong)
    torch.testing.assert_close(right.norm(), wrong.norm(), atol=1e-4, rtol=1e-4)


def test_the_base_is_left_as_it_was(room):
    from digsite.graft.core.operate import run_operation

    model = run_operation(
        plan_method("aligned_spatial epochs=1 steps=3"), room.pair, room.pools, None, lens=room.lens
    ).model
    for p, q in zip(model.base.parameters(), room.pair.receiver.parameters()):
        assert torch.equal(p, q)


def test_one_class_at_a_time(room):
    pair = Pair(room.pair.donor, room.pair.receiver, new=(4, 5), foreign=())
    donor, _ = make_sides(plan_method("vector_space"), pair, room.pools, 0)
    with pytest.raises(UsageError, match="injects one class"):
        injection.find_one_class(donor)
