import torch

from digsite.decompose.core.masks import Layout, Masks, draw_routes, mask_between


def test_masks_lie_between_importance_and_one():
    g = {"a": torch.rand(50, 4)}
    found = mask_between(g, {"a": torch.rand(50, 5)})
    assert (found.parts["a"] >= g["a"]).all()
    assert (found.parts["a"] <= 1).all()
    assert found.residual is not None
    assert found.residual["a"].shape == (50, 1)


def test_without_a_residual_column_there_is_no_residual():
    assert mask_between({"a": torch.rand(5, 4)}, {"a": torch.rand(5, 4)}).residual is None


def test_binomial_masks_are_the_importance_or_one():
    g = torch.rand(50, 4)
    found = mask_between({"a": g}, {"a": torch.rand(50, 4)}, "binomial").parts["a"]
    assert ((found == g) | (found == 1)).all()


def test_subset_sizes_are_uniform():
    """k of L modules with k uniform in 1..L, and every module as often as any other."""
    uniform = torch.rand(40_000, 4, generator=torch.Generator().manual_seed(0))
    routes = torch.cat(list(draw_routes(uniform, ["a", "b", "c"]).values()), -1)
    sizes = torch.bincount(routes.sum(-1).long(), minlength=4) / len(routes)
    assert torch.allclose(sizes, torch.tensor([0, 1 / 3, 1 / 3, 1 / 3]), atol=0.01)
    assert torch.allclose(routes.mean(0), torch.full((3,), 2 / 3), atol=0.01)


def test_restricting_keeps_the_named_sites():
    masks = Masks({"a": torch.ones(1), "b": torch.ones(1)}, {"a": torch.ones(1), "b": torch.ones(1)})
    only = masks.restrict_sites(["b"])
    assert list(only.parts) == ["b"]
    assert only.residual is not None
    assert list(only.residual) == ["b"]


def test_shared_axes_are_the_common_prefix():
    layout = Layout({"a": (8, 5, 5), "b": (8,), "c": (8, 5)}, {"a": 1, "b": 1, "c": 1}, delta=True)
    assert layout.shared_axes() == (8,)
    assert layout.mask_shape("a") == (8, 5, 5, 2)
