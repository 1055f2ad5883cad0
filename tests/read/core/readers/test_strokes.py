import numpy as np
import pytest
import read_networks
import torch

from digsite.base.errors import UsageError
from digsite.models import build, parse
from digsite.read.core.population import stack_models
from digsite.read.core.readers.strokes import draw_strokes, extract_strokes


@pytest.mark.parametrize("kind", ["relu mlp", "small cnn", "wild cnn", "gru", "post-norm transformer"])
def test_every_family_has_the_same_columns_and_none_is_missing(kind):
    names, values = extract_strokes(stack_models([read_networks.make(kind)]).groups[0])
    assert values.shape == (1, 24) and len(set(names)) == 24 and np.isfinite(values).all()


def test_a_network_that_ignores_its_input_says_so_and_one_that_looks_does_not():
    """Closed forms: a constant answer depends on nothing; an even one is as unsure as ten classes allow."""
    torch.manual_seed(0)
    blind, looking = (torch.nn.Sequential(torch.nn.Linear(64, 10)) for _ in range(2))
    torch.nn.init.zeros_(blind[0].weight)
    torch.nn.init.zeros_(blind[0].bias)
    tables = [
        dict(zip(*map(list, (n, v[0]))))
        for n, v in (extract_strokes(stack_models([m]).groups[0]) for m in (blind, looking))
    ]
    assert (
        tables[0]["input_share"] == 0
        and tables[0]["unsure"] == pytest.approx(1)
        and tables[0]["sure"] == pytest.approx(0.1)
    )
    assert tables[0]["flipped_shift"] == 0 and tables[0]["said_most"] == 1
    assert tables[1]["input_share"] > 0.1 and tables[1]["flipped_shift"] > 0


def test_neither_the_order_of_neurons_nor_of_classes_moves_a_number():
    model = read_networks.make("relu mlp")
    state = {k: v.clone() for k, v in model.state_dict().items()}
    last = list(state)[-2:]
    order = torch.randperm(len(state[last[1]]))
    other = read_networks.make("relu mlp")
    other.load_state_dict(state | {name: state[name][order] for name in last})
    one, two = (extract_strokes(stack_models([m]).groups[0])[1] for m in (model, other))
    assert np.allclose(one, two, atol=1e-5)


def test_strokes_are_the_same_ones_at_every_size():
    small, large = draw_strokes((1, 8, 8), 40), draw_strokes((1, 32, 32), 40)
    assert float(small.min()) >= 0 and float(large.max()) <= 1
    shrunk = torch.nn.functional.avg_pool2d(large, 4)
    together = torch.corrcoef(torch.stack([small.flatten(), shrunk.flatten()]))[0, 1]
    assert together > 0.9


def test_what_takes_no_images_is_refused_in_one_sentence():
    config = {
        "kind": "transformer",
        "vocab": 20,
        "length": 8,
        "d_model": 8,
        "n_heads": 2,
        "d_mlp": 8,
        "n_layers": 1,
    }
    with pytest.raises(UsageError, match="reads tokens"):
        extract_strokes(stack_models([build(parse(config))]).groups[0])


def test_what_answers_images_with_images_or_fails_in_its_own_way_is_refused_in_one_sentence():
    class Picky(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = torch.nn.Linear(10, 6), torch.nn.Linear(6, 10)

        def forward(self, x):
            assert self.whole or x.ndim == 2, "rows, please"
            return self.b(self.a(x).relu())

    for whole in (True, False):  # image for image, or an error that is no RuntimeError
        Picky.whole = whole
        with pytest.raises(UsageError, match="no row of numbers"):
            extract_strokes(stack_models([Picky()]).groups[0])
