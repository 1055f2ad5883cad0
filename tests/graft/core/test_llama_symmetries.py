"""A symmetry changes weights and no answer; a model that was moved by one is brought back exactly."""

import json
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from digsite.base.errors import UsageError
from digsite.data.tokenizers import load_tokenizer
from digsite.graft.core.llama_matching import carry_llama, plan_widths, rebase_llama, watch_llama
from digsite.graft.core.llama_symmetries import (
    LayerSymmetry,
    LlamaShape,
    Symmetry,
    apply_symmetry,
    fold_gains,
    rotary_places,
)
from digsite.graft.core.merges import merge_vocabularies
from digsite.graft.judge.stories import Barrier, measure_barrier
from digsite.models import build, load_model, parse


def llama(rope="halves", seed=0, tied=False):
    config = {
        "kind": "llama",
        "vocab": 30,
        "d_model": 16,
        "d_mlp": 24,
        "n_layers": 2,
        "n_heads": 4,
        "n_kv_heads": 2,
        "context": 16,
        "tied": tied,
        "rope": rope,
    }
    model = build(parse(config), seed)
    with torch.no_grad():
        g = torch.Generator().manual_seed(seed)
        for name, p in model.named_parameters():
            p.copy_(
                torch.rand(p.shape, generator=g) + 0.5
                if "norm" in name
                else torch.randn(p.shape, generator=g) * 0.4
            )
    return model


def rows(n=40):
    return torch.randint(0, 30, (n, 12), generator=torch.Generator().manual_seed(3))


def said(model, state):
    with torch.no_grad():
        return torch.func.functional_call(model, state, rows())


def drawn(shape: LlamaShape, seed: int, rotate: bool) -> Symmetry:
    g = torch.Generator().manual_seed(seed)
    order = lambda n: torch.randperm(n, generator=g)  # noqa: E731
    turn = lambda n: torch.linalg.qr(torch.randn(n, n, generator=g)).Q if rotate else torch.eye(n)[order(n)]  # noqa: E731
    layers = tuple(
        LayerSymmetry(
            order(2),
            torch.stack([order(2) for _ in range(2)]),
            torch.stack([turn(4) for _ in range(2)]),
            torch.rand(2, 2, generator=g) * 6 * rotate,
            order(24),
        )
        for _ in range(2)
    )
    return Symmetry(turn(16), layers)


@pytest.mark.parametrize("rope", ["halves", "pairs"])
@pytest.mark.parametrize("rotate", [True, False])
def test_a_symmetry_changes_no_answer(rope, rotate):
    model = llama(rope)
    shape = LlamaShape.of_config(model.config)
    state = dict(model.state_dict())
    wanted = said(model, state)
    ready = fold_gains(state, shape)
    torch.testing.assert_close(said(model, ready), wanted, rtol=1e-4, atol=1e-4)
    moved = apply_symmetry(ready if rotate else state, drawn(shape, 1, rotate), shape)
    torch.testing.assert_close(said(model, moved), wanted, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(
        moved["model.layers.0.mlp.down_proj.weight"], state["model.layers.0.mlp.down_proj.weight"]
    )


@pytest.mark.parametrize("kind", ["rotation", "permutation"])
def test_a_moved_model_is_brought_back(kind):
    model, other = llama(), llama()
    shape = LlamaShape.of_config(model.config)
    ready = fold_gains(dict(model.state_dict()), shape)
    model.load_state_dict(ready)
    other.load_state_dict(apply_symmetry(ready, drawn(shape, 2, kind == "rotation"), shape))
    mine, back, _ = rebase_llama(model, other, rows(), shape, kind)
    for name, weight in mine.items():
        torch.testing.assert_close(back[name], weight, rtol=1e-2, atol=2e-3)


def test_a_published_model_in_another_basis_is_brought_back(data_dir):
    """The first example of docs/graft.md: stories260K met in a basis that was drawn at random."""
    published = load_model(f"file:{data_dir}/lm/stories260K")
    words = load_tokenizer(data_dir / "lm" / "stories260K" / "tok512.bin")
    texts = json.loads((data_dir / "text/tinystories_train_first1000.json").read_text())[:48]
    tokens = torch.tensor([words.encode(text)[:128] for text in texts])
    shape = LlamaShape.of_config(published.config)
    kv, per, size = shape.n_kv_heads, shape.per_group, shape.d_head
    g = torch.Generator().manual_seed(0)
    turn = lambda n: torch.linalg.qr(torch.randn(n, n, generator=g)).Q  # noqa: E731
    order = lambda n: torch.randperm(n, generator=g)  # noqa: E731
    layers = tuple(
        LayerSymmetry(
            order(kv),
            torch.stack([order(per) for _ in range(kv)]),
            torch.stack([turn(size) for _ in range(kv)]),
            6 * torch.rand(kv, size // 2, generator=g),
            order(172),
        )
        for _ in range(shape.n_layers)
    )
    first, second = (build(published.config.model_copy(update={"tied": False})) for _ in range(2))
    weights = fold_gains(dict(published.state_dict()), shape)
    met = apply_symmetry(weights, Symmetry(turn(64), layers), shape)
    first.load_state_dict(weights)
    second.load_state_dict(met)
    _, back, _ = rebase_llama(first, second, tokens[:24], shape)

    def loss_of(state):
        with torch.no_grad():
            said_ = torch.func.functional_call(first, state, (tokens[24:],))[:, :-1]
        return float(cross_entropy(said_.flatten(0, 1), tokens[24:, 1:].flatten()))

    assert loss_of(weights) == pytest.approx(1.206, abs=2e-3)
    assert loss_of(met) == pytest.approx(loss_of(weights), abs=1e-4)
    assert measure_barrier(loss_of, weights, met).height > 5
    assert measure_barrier(loss_of, weights, back).height < 1e-4


def test_models_of_two_architectures_have_no_common_basis():
    other = llama()
    with torch.no_grad():
        other.lm_head.weight = torch.nn.Parameter(other.lm_head.weight[:-1])
    with pytest.raises(UsageError, match="of the two models and"):
        rebase_llama(llama(), other, rows(), LlamaShape.of_config(other.config))
    with pytest.raises(UsageError, match="no way to match called 'rotate'. Did you mean 'rotation'"):
        rebase_llama(other, other, rows(), LlamaShape.of_config(other.config), "rotate")


def test_gains_cannot_be_rotated():
    model = llama()
    shape = LlamaShape.of_config(model.config)
    with pytest.raises(UsageError, match="call folded"):
        apply_symmetry(dict(model.state_dict()), drawn(shape, 3, True), shape)
    with pytest.raises(UsageError, match="no key and value heads"):
        LlamaShape.of_config(object())


def test_rotary_planes_cover_a_head():
    for pairs in (True, False):
        first, second = rotary_places(LlamaShape(1, 2, 1, 8, pairs))
        assert sorted([*first.tolist(), *second.tolist()]) == list(range(8))


def test_a_barrier_is_measured_over_the_chord():
    assert Barrier((0.0, 0.5, 1.0), (1.0, 4.0, 3.0)).height == 2.0
    flat = measure_barrier(lambda s: float(s["w"]), {"w": torch.tensor(1.0)}, {"w": torch.tensor(5.0)})
    assert flat.height == pytest.approx(0.0) and flat.losses[2] == pytest.approx(3.0)


def test_a_moved_model_with_other_tokens_comes_back_and_merges_with_the_first_into_itself():
    """Turned at random, rows in another order, five tokens dropped and three that the first lacks: rows of the other's own
    tokens are carried by the same stream map."""
    model = llama()
    shape = LlamaShape.of_config(model.config)
    state = fold_gains(dict(model.state_dict()), shape)
    moved = apply_symmetry(state, drawn(shape, 5, True), shape)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))[:25]
    own = {"model.embed_tokens.weight": torch.randn(3, 16), "lm_head.weight": torch.randn(3, 16)}
    stream = drawn(shape, 5, True).stream
    for name, extra in own.items():
        moved[name] = torch.cat([moved[name][order], extra @ stream])
    first, second = (build(parse({**model.config.model_dump(), "vocab": n, "tied": False})) for n in (30, 28))
    first.load_state_dict(state)
    second.load_state_dict(moved)
    told = order[torch.randint(0, 25, (40, 12), generator=torch.Generator().manual_seed(2))]
    place = torch.zeros(30, dtype=torch.long).index_copy(0, order, torch.arange(25))
    target, back, _ = rebase_llama(first, second, told, shape, other_rows=place[told])
    words = [f"word {i}" for i in range(30)]
    others = [*(words[i] for i in order.tolist()), *(f"own {i}" for i in range(3))]
    merged, joint = merge_vocabularies(
        "average", [target, back], [{w: i for i, w in enumerate(v)} for v in (words, others)]
    )
    assert list(joint) == [*words, "own 0", "own 1", "own 2"]
    for name, weight in merged.items():
        wanted = torch.cat([state[name], own[name]]) if name in own else state[name]
        torch.testing.assert_close(weight, wanted, rtol=1e-3, atol=1e-4)
    with pytest.raises(UsageError, match=r"\(40, 12\) tokens of the one model and \(40, 11\)"):
        rebase_llama(first, second, told, shape, other_rows=place[told][:, 1:])


# Two widths.


def doubled(state, shape):
    """The same function at twice the width: every group, neuron and place of the stream there twice, whoever reads halved."""
    out, again = {}, lambda w, size: torch.cat([w.unflatten(0, (-1, size))] * 2).flatten(0, 1)
    size = {"q": shape.per_group * shape.d_head, "k": shape.d_head, "v": shape.d_head}
    for name, w in state.items():
        if name.endswith("norm.weight"):
            out[name] = torch.ones(2 * len(w))
            continue
        reads = "embed" not in name
        if "embed" in name:
            w = torch.cat([w, w], 1)
        elif "o_proj" in name:
            w = again(w.T, size["q"]).T / 2
        elif "down" in name:
            w = torch.cat([w, w], 1) / 2
        elif "_proj" in name:
            part = name.split("_proj")[0][-1]
            w = again(w, size[part]) if part in size else torch.cat([w, w])
        if "o_proj" in name or "down" in name:
            w = torch.cat([w, w])
        elif reads:
            w = torch.cat([w, w], 1) / 2
        out[name] = w
    return out


@pytest.mark.parametrize("kind", ["rotation", "transport"])
def test_a_model_of_doubled_width_comes_back_as_it_was(kind):
    """Twice the stream, groups, heads and neurons, then moved at random: the transport finds what belongs together."""
    model = llama()
    shape, sizes = LlamaShape.of_config(model.config), model.config.model_dump() | {"tied": False}
    state = fold_gains(dict(model.state_dict()), shape)
    wide = build(parse(sizes | {"d_model": 32, "d_mlp": 48, "n_heads": 8, "n_kv_heads": 4}))
    first, wide_shape = build(parse(sizes)), LlamaShape.of_config(wide.config)
    first.load_state_dict(state)
    wide.load_state_dict(doubled(state, shape))
    torch.testing.assert_close(wide(rows()), first(rows()), rtol=1e-4, atol=1e-4)

    g = torch.Generator().manual_seed(4)
    order = lambda n: torch.randperm(n, generator=g)  # noqa: E731
    turn = lambda n: torch.linalg.qr(torch.randn(n, n, generator=g)).Q  # noqa: E731
    stream = turn(32) if kind == "rotation" else torch.eye(32)[order(32)]
    heads, values = torch.stack([order(2) for _ in range(4)]), torch.stack([turn(4) for _ in range(4)])
    layer = LayerSymmetry(order(4), heads, values, torch.rand(4, 2, generator=g) * 6, order(48))
    moved = apply_symmetry(dict(wide.state_dict()), Symmetry(stream, (layer, layer)), wide_shape)
    wide.load_state_dict(moved)
    seen = watch_llama(first, rows()), watch_llama(wide, rows())
    plan = plan_widths(*seen, state, moved, shape, wide_shape, kind)
    back = carry_llama(moved, plan, shape)
    for name, weight in state.items():
        torch.testing.assert_close(back[name], weight, rtol=1e-3, atol=1e-4)


def test_what_cannot_change_its_width_is_said():
    model = llama()
    shape = LlamaShape.of_config(model.config)
    seen = watch_llama(model, rows())
    state = dict(model.state_dict())
    with pytest.raises(UsageError, match="3 blocks cannot be carried into one with 2"):
        plan_widths(seen, seen, state, state, shape, replace(shape, n_layers=3))
    with pytest.raises(UsageError, match="4 queries in a group cannot be carried into one with 2"):
        plan_widths(seen, seen, state, state, shape, replace(shape, n_heads=8))
    with pytest.raises(UsageError, match="no way to carry a stream called 'rotate'"):
        plan_widths(seen, seen, state, state, shape, shape, "rotate")
    plan = plan_widths(seen, seen, state, state, shape, shape)
    with pytest.raises(UsageError, match="has gains"):
        carry_llama(state, plan, shape)
