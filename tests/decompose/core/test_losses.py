"""Every loss against a loop over rows and components written from its formula."""

import pytest
import torch

from digsite.decompose.config import GATES, LOSSES
from digsite.decompose.core.masks import Layout
from digsite.decompose.core.scene import Plan, Scene, observe_batch
from digsite.decompose.core.target import Target
from digsite.models import build, parse

OWNERS = {"linear1": "linear1", "linear2": "linear2"}


@pytest.fixture
def scene() -> Scene:
    target = Target(build(parse({"kind": "tms"}), 3).untied().double(), ["linear1", "linear2"])
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    params = {
        "linear1/V": draw(5, 4),
        "linear1/U": draw(4, 2),
        "linear2/V": draw(2, 4),
        "linear2/U": draw(4, 5),
    }
    params |= {f"gate/{s}/{k}": draw(4) for s in OWNERS for k in ("slope", "bias")}
    plan = Plan(target, OWNERS, GATES["linear"](), "leaky_hard", True, "mse")
    rows = torch.tensor([1.0, 1, 1, 3], dtype=torch.float64)
    return observe_batch(plan, None, params, draw(4, 5).abs(), rows=rows)


def layout(scene: Scene) -> Layout:
    return Layout(
        {s: tuple(h.shape[:-1]) for s, h in scene.inner.items()},
        {s: h.shape[-1] for s, h in scene.inner.items()},
        True,
    )


def noise_for(scene: Scene, settings) -> dict[str, torch.Tensor]:
    wanted = settings.list_noise(layout(scene))
    generator = torch.Generator().manual_seed(7)
    return {k: torch.rand(shape, generator=generator, dtype=torch.float64) for k, shape in wanted.items()}


def by_hand(scene: Scene, masks: dict, residual: dict) -> torch.Tensor:
    """One row at a time: sum over components of mask * (v . x) u, plus the residual's share, then bias and ReLU."""
    total = 0.0
    for b in range(4):
        x = scene.x[b]
        for site in OWNERS:
            v, u = scene.factors[site]
            weight = scene.matrices[site]
            if site in masks:
                y = sum(masks[site][b, c] * (x @ v[:, c]) * u[c] for c in range(4))
                x = y + residual[site][b] * (x @ (weight - v @ u)) if site in residual else y
            else:
                x = x @ weight
        answer = (x + scene.plan.target.model.linear2.bias).relu()
        total = total + scene.rows[b] * (answer - scene.output[b]).square().mean()
    return total / scene.rows.sum()


def drawn(scene: Scene, noise: dict, prefix: str = "0/") -> tuple[dict, dict]:
    g = scene.importance.lower
    masks = {s: g[s] + (1 - g[s]) * noise[prefix + s][:, :4] for s in g}
    return masks, {s: noise[prefix + s][:, 4] for s in g}


def compute(scene: Scene, kind: str, **settings) -> tuple[torch.Tensor, dict]:
    made = LOSSES[kind](**settings)
    noise = noise_for(scene, made)
    return made.compute(scene, noise), noise


def test_faithfulness(scene):
    gaps = torch.cat([r.flatten() for r in scene.residuals.values()])
    torch.testing.assert_close(compute(scene, "faithfulness")[0], gaps.square().mean())


@pytest.mark.parametrize("p", [1.0, 2.0, 0.5])
def test_importance_minimality(scene, p):
    upper = torch.cat(list(scene.importance.upper.values()), 1)
    expected = (((upper + 1e-12) ** p).sum(1) * scene.rows).sum() / scene.rows.sum()
    torch.testing.assert_close(
        compute(scene, "importance_minimality", p=p)[0], expected, rtol=1e-9, atol=1e-9
    )


def test_the_frequency_term(scene):
    expected = 0.0
    for upper in scene.importance.upper.values():
        sums = (upper * scene.rows[:, None]).sum(0)
        expected = expected + (sums / 6 * (1 + 0.3 * torch.log2(1 + sums))).sum()
    torch.testing.assert_close(compute(scene, "importance_minimality", beta=0.3)[0], expected)


@pytest.mark.parametrize(("progress", "p"), [(0.0, 2.0), (0.5, 1.25), (1.0, 0.5)])
def test_p_moves_with_training(scene, progress, p):
    scene.progress = progress
    moving = compute(scene, "importance_minimality", p=2, p_final=0.5)[0]
    torch.testing.assert_close(moving, compute(scene, "importance_minimality", p=p)[0])


def test_stochastic_recon(scene):
    found, noise = compute(scene, "recon")
    torch.testing.assert_close(found, by_hand(scene, *drawn(scene, noise)))


def test_layerwise_recon(scene):
    found, noise = compute(scene, "recon", routing="layerwise")
    masks, residual = drawn(scene, noise)
    each = [by_hand(scene, {s: masks[s]}, {s: residual[s]}) for s in OWNERS]
    torch.testing.assert_close(found, sum(each) / 2)


def test_several_samples_are_averaged(scene):
    found, noise = compute(scene, "recon", samples=2)
    each = [by_hand(scene, *drawn(scene, noise, f"{s}/")) for s in (0, 1)]
    torch.testing.assert_close(found, sum(each) / 2)


def test_importances_as_masks_and_no_masks(scene):
    torch.testing.assert_close(
        compute(scene, "recon", masks="ci")[0], by_hand(scene, scene.importance.lower, {})
    )
    ones = {s: torch.ones_like(g) for s, g in scene.importance.lower.items()}
    torch.testing.assert_close(compute(scene, "recon", masks="none")[0], by_hand(scene, ones, {}))


def test_subset_recon_routes_each_row(scene):
    """Rows routed to one module only take the target's own layer elsewhere."""
    found, noise = compute(scene, "recon", routing="subset")
    masks, residual = drawn(scene, noise)
    whole, total = scene.rows.clone(), 0.0
    routes = noise["0/routes"]
    for b in range(4):
        both = routes[b, 0] >= 0.5
        first = routes[b, 1] < routes[b, 2]
        chosen = [s for s, on in zip(OWNERS, (both or first, both or not first)) if on]
        scene.rows = torch.zeros(4, dtype=torch.float64)
        scene.rows[b] = 1
        total = total + whole[b] * by_hand(
            scene, {s: masks[s] for s in chosen}, {s: residual[s] for s in chosen}
        )
    torch.testing.assert_close(found, total / whole.sum())


def test_the_adversary_is_worse_than_chance(scene):
    start = compute(scene, "adversarial", steps=1, step_size=1e-9)[0]
    assert compute(scene, "adversarial", steps=8, step_size=0.2)[0] > start
    assert compute(scene, "adversarial", steps=8, step_size=0.2, shared=False)[0] > start


def test_hidden_recon_compares_what_modules_put_out(scene):
    found, noise = compute(scene, "hidden_recon")
    masks, residual = drawn(scene, noise, "")
    v, u = scene.factors["linear1"]
    hidden = (scene.x @ v * masks["linear1"]) @ u + residual["linear1"][:, None] * (
        scene.x @ scene.residuals["linear1"]
    )
    v, u = scene.factors["linear2"]
    last = (hidden @ v * masks["linear2"]) @ u + residual["linear2"][:, None] * (
        hidden @ scene.residuals["linear2"]
    )
    wanted = scene.x @ scene.matrices["linear1"]
    gaps = [(hidden - wanted), last - wanted @ scene.matrices["linear2"]]
    each = [((gap.square().mean(1)) * scene.rows).sum() / scene.rows.sum() for gap in gaps]
    torch.testing.assert_close(found, sum(each) / 2)


def test_schatten(scene):
    expected = 0.0
    for site, upper in scene.importance.upper.items():
        v, u = scene.factors[site]
        sizes = v.norm(dim=0) ** 2 + u.norm(dim=1) ** 2
        expected = expected + ((upper @ sizes) * scene.rows).sum() / 6
    torch.testing.assert_close(compute(scene, "schatten")[0], expected, rtol=1e-6, atol=1e-9)
