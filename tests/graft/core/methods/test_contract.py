"""Every method: runs on tiny networks, keeps to its budget, moves all that crosses through its message, is listed."""

import pytest
import torch

from digsite.base.errors import UsageError
from digsite.graft.config import GRIDS, HONEST, NULLS, SURGERY
from digsite.graft.core.access import Access, Budget, BudgetViolation
from digsite.graft.core.nets import predict
from digsite.graft.core.operate import method, method_names, operate, plan, sides
from digsite.graft.judge.ledger import entry

QUICK = {
    "aligned_spatial": "epochs=2 steps=5",
    "distill": "steps=10 n_images=100",
    "distill_strokes": "steps=10 n_images=100",
    "finetune": "k=5 steps=10",
    "rebasin": "match=acts data=s",
    "continual": "steps=5 n_images=100",
    "probe_last": "k=5",
    "probe_all": "k=5",
    "concept_dimension": "n_images=200 width=8",
    "sparsity_optimization": "n_images=200 width=8",
    "hierarchical": "n_images=200 levels=8,4",
    "universal": "n_images=200 width=8",
    "neural_alignment": "n_images=200 steps=20",
}


def quick(name: str) -> str:
    return f"{name} {QUICK.get(name, '')}".strip()


def place(name: str, room, started):
    return started if getattr(method(name), "NEEDS_START", False) else room


@pytest.mark.parametrize("name", method_names())
def test_member_runs_keeps_its_budget_and_has_an_ablation(name, room, started):
    where = place(name, room, started)
    done = operate(plan(quick(name)), where.pair, where.pools, where.scorer, lens=where.lens)
    assert set(done.images) <= done.plan.budget.letters
    assert done.ablation is not None
    line = entry(done, done.outcome)
    assert 0 <= line.transfer <= 100 and 0 <= line.preservation <= 100
    assert line.budget == str(done.plan.budget)
    out = predict(done.model, where.data.test.x[:8])
    assert out.shape[0] == 8 and out.shape[1] >= 5 and out.isfinite().all()


@pytest.mark.parametrize("name", method_names())
def test_member_is_the_same_again(name, room, started):
    where = place(name, room, started)
    first, second = (
        operate(plan(quick(name)), where.pair, where.pools, None, seed=3, lens=where.lens).model
        for _ in range(2)
    )
    x = where.data.test.x[:20]
    assert torch.equal(predict(first, x), predict(second, x))


@pytest.mark.parametrize("name", method_names())
def test_member_leaves_both_networks_as_they_were(name, room, started):
    where = place(name, room, started)
    x = where.data.test.x[:20]
    before = predict(where.pair.receiver, x), predict(where.pair.donor, x)
    operate(plan(quick(name)), where.pair, where.pools, None, lens=where.lens)
    assert torch.equal(predict(where.pair.receiver, x), before[0])
    assert torch.equal(predict(where.pair.donor, x), before[1])


@pytest.mark.parametrize("name", method_names())
def test_member_with_a_smaller_budget_is_stopped(name, room, started):
    """Each letter that a method declares is one that it reads: without it, the read raises."""
    where, chosen = place(name, room, started), plan(quick(name))
    for letter in chosen.budget.letters - {"w"}:
        donor, receiver = sides(chosen, where.pair, where.pools, 0)
        poorer = Access(where.pools, Budget(chosen.budget.letters - {letter}, chosen.budget.shots))
        for side in (donor, receiver):
            object.__setattr__(side, "access", poorer)
        with pytest.raises(BudgetViolation):
            chosen.module.apply(chosen.options, receiver, chosen.module.message(chosen.options, donor))


@pytest.mark.parametrize("name", [n for n in method_names() if not method(n).SAME_SHAPE])
def test_cross_architecture_member_takes_networks_of_two_shapes(name, crossed):
    done = operate(plan(quick(name)), crossed.pair, crossed.pools, None, lens=crossed.lens)
    assert predict(done.model, crossed.data.test.x[:4]).isfinite().all()


@pytest.mark.parametrize("name", [n for n in method_names() if method(n).SAME_SHAPE])
def test_same_shape_member_names_the_others(name, crossed):
    chosen = plan(quick(name))
    with pytest.raises(UsageError, match="needs two networks of one shape") as caught:
        operate(chosen, crossed.pair, crossed.pools, None)
    assert "ridge_all" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["union", "ridge_all data=s n_images=100", "distill steps=3 n_images=50", "cascade"]
)
def test_convolutions_are_welcome(text, convolutional):
    done = operate(plan(text), convolutional.pair, convolutional.pools, None, lens=convolutional.lens)
    assert predict(done.model, convolutional.data.test.x[:4]).isfinite().all()


@pytest.mark.parametrize(
    "text", [*NULLS, *SURGERY, *HONEST, *(f"{k} {o}" for k, v in GRIDS.items() for o in v)]
)
def test_named_settings_parse(text):
    assert plan(text).budget.letters


def test_every_method_is_in_a_study():
    named = {t.split()[0] for t in (*NULLS, *SURGERY, *HONEST)} | set(GRIDS)
    assert named == set(method_names())


def test_union_says_what_the_donor_says(room):
    model = operate(plan("union"), room.pair, room.pools, None).model
    x = room.data.test.x[:50]
    torch.testing.assert_close(
        predict(model, x)[:, 4], predict(room.pair.donor, x)[:, 4], rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(
        predict(model, x)[:, :4], predict(room.pair.receiver, x)[:, :4], rtol=1e-4, atol=1e-4
    )


def test_a_branch_after_the_first_layer_of_a_twin_is_the_twin(room):
    """When donor and receiver are one network, the ridge map is the identity and its own logit comes back."""
    from dataclasses import replace

    twin = replace(room.pair, receiver=room.pair.donor, old=(2, 3), new=(4,), foreign=(5,))
    options = "branch data=s strength=1e-9"
    model = operate(plan(options), twin, room.pools, None).model
    x = room.data.test.of((2, 3)).x[:30]
    torch.testing.assert_close(
        predict(model, x)[:, 4], predict(room.pair.donor, x)[:, 4], rtol=0.05, atol=0.3
    )


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(UsageError, match="n_images"):
        plan("distill n_imags=3")
