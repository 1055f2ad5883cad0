import torch

from digsite.data import load
from digsite.read.subjects.families import FamilyRecipe, head_names, make_families
from digsite.train import Member


def test_every_kind_has_its_child_and_edits_are_what_they_say():
    images = load("digits")
    data = images.x_train[:200], images.y_train[:200]
    members = tuple(Member(seed=s, steps=10) for s in range(2))
    model = {"kind": "mlp", "sizes": [64, 12, 8, 10], "activation": "relu"}
    families = make_families(FamilyRecipe("r", model, data, (1 - data[0], data[1]), members), 0)
    kinds = {link.kind for f in families for link in f.links}
    assert kinds == {
        "fine-tuned",
        "continued",
        "distilled",
        "repaired",
        "re-initialised head",
        "pruned",
        "quantised",
        "merged",
        "grafted",
        "permuted copy",
        "rescaled copy",
    }
    m = families[1].members
    assert float((m["pruned_60"]["layers.0.weight"] == 0).double().mean()) > 0.55
    assert torch.equal(m["grafted"]["layers.2.weight"], m["stranger"]["layers.2.weight"])
    assert all(link.parent in f.members and link.child in f.members for f in families for link in f.links)


def test_the_head_is_the_last_matrix_and_its_bias():
    assert head_names(
        {"a.weight": torch.ones(2, 2), "b.weight": torch.ones(2, 2), "b.bias": torch.ones(2)}
    ) == ["b.weight", "b.bias"]
