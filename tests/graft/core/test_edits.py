from itertools import pairwise

import pytest
import torch
from torch import nn

from digsite.base.errors import UsageError
from digsite.graft.core import edits
from digsite.graft.core.nets import make_plain_net


def net(*sizes: int, seed: int = 0) -> nn.Sequential:
    draw = torch.Generator().manual_seed(seed)
    pairs = list(pairwise(sizes))
    return make_plain_net(
        [torch.randn(o, i, generator=draw) for i, o in pairs],
        [torch.randn(o, generator=draw) for _, o in pairs],
    )


def test_side_by_side_holds_both_functions_at_any_depth():
    x = torch.randn(20, 6)
    for shape_a, shape_b in (((6, 5, 4), (6, 7, 3, 4)), ((6, 5, 5, 4), (6, 3, 4)), ((6, 5, 4), (6, 5, 4))):
        a, b = net(*shape_a), net(*shape_b, seed=1)
        both = edits.join_networks(a, b, [3])(x)
        torch.testing.assert_close(both[:, :3], a(x)[:, :3], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(both[:, 3], b(x)[:, 3], rtol=1e-4, atol=1e-4)


def test_a_wider_head_never_says_what_it_was_not_taught():
    a, x = net(6, 5, 3), torch.randn(9, 6)
    wide = edits.widen_head(a, "3", [4])(x)
    torch.testing.assert_close(wide[:, :3], a(x))
    assert wide.shape[1] == 5 and (wide[:, 3:] < -1e3).all()


def test_set_rows_changes_one_row_of_a_copy():
    a, x = net(6, 5, 4), torch.randn(9, 6)
    before = a(x)
    new = edits.set_rows(a, "3", [2], torch.ones(1, 5), torch.tensor([7.0]))(x)
    torch.testing.assert_close(a(x), before)
    torch.testing.assert_close(new[:, [0, 1, 3]], before[:, [0, 1, 3]])
    torch.testing.assert_close(new[:, 2], a[1](x).relu().sum(1) + 7)


def test_read_all_reads_every_layer():
    a, x = net(6, 5, 4, 3), torch.randn(9, 6)
    h1 = a[1](x).relu()
    h2 = a[3](h1).relu()
    part = nn.Linear(9, 1)
    model = edits.Beside(a, "5", [1], part)
    torch.testing.assert_close(model(x)[:, 1:2], part(torch.cat([h1, h2], 1)))
    torch.testing.assert_close(model(x)[:, [0, 2]], a(x)[:, [0, 2]])


def test_beside_and_shifted():
    a, part, x = net(6, 5, 4), nn.Linear(5, 1), torch.randn(9, 6)
    both = edits.Beside(a, "3", [3], part, 0)
    torch.testing.assert_close(both(x)[:, 3:], part(a[1](x).relu()))
    torch.testing.assert_close(edits.Shifted(both, [3], 2.0)(x)[:, 3:], part(a[1](x).relu()) + 2)
    assert both.base is a  # many grafts of one receiver are scored in one pass through it


# Two transformers in one: the forward pass is written out here, so that nothing of the house is both judge and judged.

KEY = 4


def draw_transformer(
    width: int, heads: int, neurons: int, depth: int, outputs: int, seed: int
) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    inner = heads * KEY
    shapes = {"embed.weight": (5, width), "pos.weight": (6, width), "unembed.weight": (outputs, width)}
    for i in range(depth):
        shapes |= {f"blocks.{i}.attn.{m}.weight": (inner, width) for m in "qkv"}
        shapes[f"blocks.{i}.attn.o.weight"] = (width, inner)
        shapes[f"blocks.{i}.mlp.in.weight"] = (neurons, width)
        shapes[f"blocks.{i}.mlp.out.weight"] = (width, neurons)
    return {name: torch.randn(shape, generator=draw) / 3 for name, shape in shapes.items()}


def run_transformer(w: dict[str, torch.Tensor], ids: torch.Tensor) -> torch.Tensor:
    x = w["embed.weight"][ids] + w["pos.weight"][: ids.shape[1]]
    for i in range(1 + max(int(n.split(".")[1]) for n in w if n.startswith("blocks"))):
        q, k, v = (
            (x @ w[f"blocks.{i}.attn.{m}.weight"].T).unflatten(-1, (-1, KEY)).transpose(1, 2) for m in "qkv"
        )
        mixed = (q @ k.mT / KEY**0.5).softmax(-1) @ v
        x = x + mixed.transpose(1, 2).flatten(2) @ w[f"blocks.{i}.attn.o.weight"].T
        x = x + (x @ w[f"blocks.{i}.mlp.in.weight"].T).relu() @ w[f"blocks.{i}.mlp.out.weight"].T
    return x @ w["unembed.weight"].T


IDS = torch.randint(5, (7, 6), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("at", [0, 1, 2])
def test_two_transformers_in_one_say_what_both_said(at):
    receiver, donor = draw_transformer(8, 2, 10, 3, 5, 0), draw_transformer(6, 1, 7, 1, 3, 1)
    both = edits.unite_transformers(receiver, donor, KEY, at=at)
    said = run_transformer(both.state, IDS)
    torch.testing.assert_close(said[..., :5], run_transformer(receiver, IDS), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(said[..., 5:], run_transformer(donor, IDS), atol=1e-4, rtol=1e-4)
    for source, (name, rows, columns) in both.moved.items():
        assert torch.equal(both.state[name][rows, columns], donor[source])
    assert set(both.moved) == set(donor)


def test_a_step_reads_the_receivers_stream_through_its_reader():
    receiver, donor = draw_transformer(12, 2, 10, 2, 5, 0), draw_transformer(6, 1, 7, 1, 3, 1)
    for i in range(2):  # a receiver that leaves its stream alone: the reader can be written down
        receiver[f"blocks.{i}.attn.o.weight"].zero_()
    receiver["embed.weight"] = torch.cat([torch.eye(5), torch.zeros(5, 7)], 1)
    receiver["pos.weight"] = torch.cat([torch.zeros(6, 5), torch.eye(6), torch.zeros(6, 1)], 1)
    reader = torch.cat([donor["embed.weight"].T, donor["pos.weight"].T, torch.zeros(6, 1)], 1)
    both = edits.unite_transformers(receiver, donor, KEY, at=1, reader=reader)
    said = run_transformer(both.state, IDS)
    torch.testing.assert_close(said[..., 5:], run_transformer(donor, IDS), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(said[..., :5], run_transformer(receiver, IDS), atol=1e-4, rtol=1e-4)
    assert not {"embed.weight", "pos.weight"} & set(both.moved) and len(both.fitted) == 2


def test_transformers_that_do_not_fit_into_each_other():
    receiver, donor = draw_transformer(8, 2, 10, 1, 5, 0), draw_transformer(6, 1, 7, 1, 3, 1)
    with pytest.raises(UsageError, match="1 blocks does not fit at block 1 of a receiver of 1"):
        edits.unite_transformers(receiver, donor, KEY, at=1)
    with pytest.raises(UsageError, match="needs the block before"):
        edits.unite_transformers(receiver, donor, KEY, reader=torch.zeros(6, 8))
    with pytest.raises(UsageError, match="heads of 3 rows"):
        edits.unite_transformers(receiver, donor, 3)
    with pytest.raises(UsageError, match="4 tokens and the donor 5"):
        edits.unite_transformers(receiver | {"embed.weight": torch.zeros(4, 8)}, donor, KEY)
