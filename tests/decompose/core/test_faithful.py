"""Exact faithfulness, the new losses against closed forms, the persistent adversary, and how they are refused."""

import pytest
import torch
from torch import nn

from digsite.base.errors import UsageError
from digsite.decompose import decompose
from digsite.decompose.config import DecomposeConfig
from digsite.decompose.core import parts
from digsite.decompose.core.fit import Fit, Problem
from digsite.decompose.core.losses.sparsity import Frequency, count_softly, ramp_pressure
from digsite.decompose.core.recipes import read_recipe
from digsite.decompose.core.scene import measure_gap


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(7, 6), nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3)).double().eval()


def tokens(generator: torch.Generator) -> torch.Tensor:
    return torch.randint(7, (12, 4), generator=generator)


def fit(**settings) -> Fit:
    base = read_recipe("transformers") | {"compile": "never", "steps": 20}
    config = DecomposeConfig.model_validate(base | settings)
    return Fit(Problem([model()], ["1", "3"], tokens), config, [0, 1], dtype=torch.float64)


@pytest.mark.parametrize("extra", [0, 3])
def test_whatever_training_does_the_parts_add_up(extra):
    made = fit(**({"C": 6 + extra} if extra else {}), lr=0.05, part_lr=1.0)
    before = made.read_member(0)["1/V"].clone()
    for step in range(20):
        made.step(step)
    for k in (0, 1):
        found = made.make_decomposition(k)
        assert not torch.allclose(found.params["1/V"], before, atol=1e-3)
        for site in ("1", "3"):
            assert found.components(site).residual.abs().max() < 1e-9
        assert not [key for key in found.params if key.startswith("source/") or key.endswith("/A")]


def test_mixed_parts_are_stored_as_plain_ones():
    generator = torch.Generator().manual_seed(0)
    v, u, a = (torch.randn(s, generator=generator, dtype=torch.float64) for s in ((5, 3), (3, 4), (3, 3)))
    params = {"s/V": v, "s/U": u, "s/A": a, "gate/s/A": a}
    stored = parts.fold_mixing(params)
    assert set(stored) == {"s/V", "s/U", "gate/s/A"}
    torch.testing.assert_close(stored["s/V"] @ stored["s/U"], v @ u)
    torch.testing.assert_close(stored["s/V"], v @ a)


def test_the_soft_count_is_a_count():
    values = torch.tensor([0.0, 0.2, 1.0])
    for width in (1.0, 0.1, 0.01):
        found = count_softly(values, width)
        assert found[0] == 0 and found[2] == pytest.approx(1.0)
    torch.testing.assert_close(found, torch.tensor([0.0, 1.0, 1.0]), atol=3e-3, rtol=0)
    torch.testing.assert_close(count_softly(values, 1e4), values.square(), atol=1e-6, rtol=1e-6)


def test_pressure_rises_and_ends():
    shares = [float(ramp_pressure(0.2, 0.9, t)) for t in (0.0, 0.1, 0.2, 0.5, 0.6, 0.75, 0.9, 1.0)]
    assert shares == pytest.approx([0, 0.5, 1, 1, 1, 0.5, 0, 0], abs=1e-6)
    assert float(ramp_pressure(0.0, 1.0, 0.0)) == 1


def test_the_frequency_term_says_the_same_for_every_batch_size():
    from digsite.decompose.core.scene import observe_batch

    made = fit()
    settings = Frequency(positions=1000)
    found = []
    for copies in (1, 5):
        batch = tokens(torch.Generator().manual_seed(3)).repeat(copies, 1)
        found.append(float(settings.compute(observe_batch(made.plan, None, made.read_member(0), batch), {})))
    assert found[0] == pytest.approx(found[1])


def test_relative_distance_is_the_error_where_it_is_small():
    wanted = torch.randn(8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    near, far = wanted + 1e-4, wanted + 1e3
    torch.testing.assert_close(
        measure_gap(near, wanted, "relative", 2.0), (near - wanted).square().sum(-1) / 2, rtol=1e-6, atol=0
    )
    assert measure_gap(far, wanted, "relative", 2.0).max() < 20


def test_the_adversary_climbs_and_stays_a_mask():
    """Frozen parts and gates: the adversary's term does not fall, and its sources stay in [0, 1]."""
    made = fit(
        losses={
            "recon": {
                "kind": "merged_recon",
                "adversarial": 1.0,
                "subset": 0.0,
                "bare": 0.0,
                "source_lr": 0.3,
            }
        },
        lr=1e-12,
        gate={"kind": "active", "peak": 0.5},
        steps=30,
    )
    course = [made.step(step)["recon"] for step in range(30)]
    assert (torch.stack(course[-5:]).mean(0) > torch.stack(course[:5]).mean(0)).all()
    sources = [v for k, v in made.params.items() if k.startswith("source/")]
    assert sources and all((s >= 0).all() and (s <= 1).all() for s in sources)


@pytest.mark.parametrize(
    ("settings", "answer"),
    [
        ({"C": 2}, "C = 2 for the module '1', whose matrix has rank 6"),
        ({"init": "fan"}, "init=fan does not"),
        ({"weight_decay": 0.1}, "excludes weight_decay=0.1"),
        ({"retire": 0.5}, "retire=0.5 sets some to zero"),
    ],
)
def test_what_excludes_exact_faithfulness_is_answered(settings, answer):
    with pytest.raises(UsageError, match=answer):
        fit(**settings)


def test_a_model_that_reads_tokens_gets_the_recipe_for_transformers():
    found = decompose(model().float(), data=torch.randint(7, (40, 4)), steps=3, compile="never")
    assert found.modules == ["1", "3"]
    assert (found.config.init, found.config.compare) == ("sparse", "relative")
    few = decompose(model().float(), data=torch.randint(7, (40, 4)), C=3, steps=2, compile="never")
    assert (few.config.faithful, few.config.delta) == ("learned", True)
    with pytest.raises(UsageError, match="cannot add up"):  # who asks for exact parts does not get others
        decompose(
            model().float(), data=torch.randint(7, (40, 4)), C=3, steps=2, faithful="exact", init="singular"
        )
    speaking = nn.Sequential(nn.Embedding(99, 6), nn.Linear(6, 99))
    spoken = decompose(speaking, data=torch.randint(7, (40, 4)), steps=2, compile="never").config
    assert (spoken.compare, spoken.faithful, spoken.gate.kind) == ("kl", "learned", "shared"), (
        "that for language"
    )
    answers = nn.Sequential(nn.Embedding(7, 6), nn.Linear(6, 7))
    found = decompose(answers, data=torch.randint(7, (40, 4)), steps=2, compile="never")
    assert found.config.compare == "relative"
    plain = decompose(nn.Sequential(nn.Linear(4, 3)), data=torch.rand(40, 4), C=5, steps=2, compile="never")
    assert plain.config.init == "fan"
    with pytest.raises(UsageError, match="'transformer' is not a recipe"):
        decompose(model().float(), data=torch.randint(7, (40, 4)), recipe="transformer")
    with pytest.raises(UsageError, match="no dense layer"):
        decompose(nn.Embedding(7, 3), data=torch.randint(7, (40, 4)))
