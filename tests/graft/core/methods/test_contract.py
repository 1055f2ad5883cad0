"""Every method: runs on tiny networks, keeps to its budget, moves all that crosses through its message, is listed."""

import pytest
import torch

from digsite.base.errors import UsageError
from digsite.graft.config import list_group, list_texts
from digsite.graft.core.access import Access, AccessBudget, BudgetViolation
from digsite.graft.core.nets import predict_logits
from digsite.graft.core.operate import find_method, list_method_names, make_sides, plan_method, run_operation
from digsite.graft.judge.compare import enter_line

QUICK = {
    "aligned_spatial": "epochs=2 steps=5",
    "distill": "steps=10 n_images=100",
    "distill_strokes": "steps=10 n_images=100",
    "finetune": "k=5 steps=10",
    "rebasin": "match=acts data=s",
    "continual": "steps=5 n_images=100",
    "probe": "k=5",
    "probe_last": "k=5",
    "probe_all": "k=5",
    "shared_code": "n_images=200 width=8",
    "concept_dimension": "n_images=200 width=8",
    "sparsity_optimization": "n_images=200 width=8",
    "hierarchical": "n_images=200 levels=8,4",
    "universal": "n_images=200 width=8",
    "neural_alignment": "n_images=200 steps=20",
}


def quick(name: str) -> str:
    return f"{name} {QUICK.get(name, '')}".strip()


def place(name: str, room, started):
    return started if find_method(name).NEEDS_START else room


@pytest.mark.parametrize("name", list_method_names())
def test_member_runs_keeps_its_budget_and_has_an_ablation(name, room, started):
    where = place(name, room, started)
    done = run_operation(plan_method(quick(name)), where.pair, where.pools, where.scorer, lens=where.lens)
    assert set(done.images) <= done.plan.budget.letters
    assert done.ablation is not None
    line = enter_line(done, done.outcome)
    assert 0 <= line.transfer <= 100 and 0 <= line.preservation <= 100
    assert line.budget == str(done.plan.budget)
    out = predict_logits(done.model, where.data.test.x[:8])
    assert out.shape[0] == 8 and out.shape[1] >= 5 and out.isfinite().all()


@pytest.mark.parametrize("name", list_method_names())
def test_member_is_the_same_again(name, room, started):
    where = place(name, room, started)
    first, second = (
        run_operation(plan_method(quick(name)), where.pair, where.pools, None, seed=3, lens=where.lens).model
        for _ in range(2)
    )
    x = where.data.test.x[:20]
    assert torch.equal(predict_logits(first, x), predict_logits(second, x))


@pytest.mark.parametrize("name", list_method_names())
def test_member_leaves_both_networks_as_they_were(name, room, started):
    where = place(name, room, started)
    x = where.data.test.x[:20]
    before = predict_logits(where.pair.receiver, x), predict_logits(where.pair.donor, x)
    run_operation(plan_method(quick(name)), where.pair, where.pools, None, lens=where.lens)
    assert torch.equal(predict_logits(where.pair.receiver, x), before[0])
    assert torch.equal(predict_logits(where.pair.donor, x), before[1])


@pytest.mark.parametrize("name", list_method_names())
def test_member_with_a_smaller_budget_is_stopped(name, room, started):
    """Each letter that a method declares is one that it reads: without it, the read raises."""
    where, chosen = place(name, room, started), plan_method(quick(name))
    for letter in chosen.budget.letters - {"w"}:
        donor, receiver = make_sides(chosen, where.pair, where.pools, 0)
        poorer = Access(where.pools, AccessBudget(chosen.budget.letters - {letter}, chosen.budget.shots))
        for side in (donor, receiver):
            object.__setattr__(side, "access", poorer)
        with pytest.raises(BudgetViolation):
            chosen.method.apply_message(receiver, chosen.method.take_message(donor))


@pytest.mark.parametrize("name", [n for n in list_method_names() if not find_method(n).SAME_SHAPE])
def test_cross_architecture_member_takes_networks_of_two_shapes(name, crossed):
    done = run_operation(plan_method(quick(name)), crossed.pair, crossed.pools, None, lens=crossed.lens)
    assert predict_logits(done.model, crossed.data.test.x[:4]).isfinite().all()


@pytest.mark.parametrize("name", [n for n in list_method_names() if find_method(n).SAME_SHAPE])
def test_same_shape_member_names_the_others(name, crossed):
    chosen = plan_method(quick(name))
    with pytest.raises(UsageError, match="needs two networks of one shape") as caught:
        run_operation(chosen, crossed.pair, crossed.pools, None)
    assert "ridge_all" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["union", "ridge_all data=s n_images=100", "distill steps=3 n_images=50", "cascade"]
)
def test_convolutions_are_welcome(text, convolutional):
    done = run_operation(
        plan_method(text), convolutional.pair, convolutional.pools, None, lens=convolutional.lens
    )
    assert predict_logits(done.model, convolutional.data.test.x[:4]).isfinite().all()


GROUPS = ("surgery", "injection", "honest", "null")
IDEAS = {"ridge", "probe", "shared_code"}  # known by the names of their presets


@pytest.mark.parametrize("text", [text for group in GROUPS for text in list_texts(group)])
def test_named_settings_parse(text):
    assert plan_method(text).budget.letters


def test_every_method_is_in_a_study():
    named = {name for group in GROUPS for name in list_group(group)}
    assert named == set(list_method_names()) - IDEAS


def test_published_names_are_settings_of_about_twenty_ideas():
    ideas = {find_method(name).find_idea() for name in list_method_names()}
    assert (
        len(list_method_names()) == 42 and len({idea.__module__ for idea in ideas}) == 10 and len(ideas) <= 33
    )


def test_two_names_of_one_experiment_are_known_as_one():
    same = plan_method("concept_dimension width=32 sparsity=0.02"), plan_method("sparsity_optimization")
    assert same[0].identity == same[1].identity and same[0].label != same[1].label
    assert plan_method("ridge_all data=a").identity == plan_method("ridge data=a").identity
    assert plan_method("ridge_all").identity != plan_method("ridge_last").identity


def test_union_says_what_the_donor_says(room):
    model = run_operation(plan_method("union"), room.pair, room.pools, None).model
    x = room.data.test.x[:50]
    torch.testing.assert_close(
        predict_logits(model, x)[:, 4], predict_logits(room.pair.donor, x)[:, 4], rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(
        predict_logits(model, x)[:, :4], predict_logits(room.pair.receiver, x)[:, :4], rtol=1e-4, atol=1e-4
    )


def test_a_branch_after_the_first_layer_of_a_twin_is_the_twin(room):
    """When donor and receiver are one network, the ridge map is the identity and its own logit comes back."""
    from dataclasses import replace

    twin = replace(room.pair, receiver=room.pair.donor, old=(2, 3), new=(4,), foreign=(5,))
    options = "branch data=s strength=1e-9"
    model = run_operation(plan_method(options), twin, room.pools, None).model
    x = room.data.test.of_classes((2, 3)).x[:30]
    torch.testing.assert_close(
        predict_logits(model, x)[:, 4], predict_logits(room.pair.donor, x)[:, 4], rtol=0.05, atol=0.3
    )


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(UsageError, match="n_images"):
        plan_method("distill n_imags=3")
