import pytest
import torch
from torch import nn

from digsite.base.errors import UsageError
from digsite.decompose import decompose
from digsite.decompose.subjects import inputs, targets


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_data_may_be_rows_batches_or_a_function():
    rows = torch.arange(10.0)[:, None]
    assert inputs.make_sampler(rows, 4)(generator()).shape == (4, 1)
    assert inputs.make_sampler([(rows, 1)], 4)(generator()).shape == (10, 1)
    assert torch.equal(inputs.make_sampler([{"input_ids": rows}], 4)(generator()), rows)
    assert inputs.make_sampler(targets.draw_pairs, 4)(generator()).shape == (1024, 8)


def test_a_loader_starts_again_and_an_empty_one_is_answered():
    class Loader:
        def __iter__(self):
            return iter([torch.zeros(1), torch.ones(1)])

    draw = inputs.make_sampler(Loader(), 4)
    assert [float(draw(generator())) for _ in range(3)] == [0, 1, 0]
    with pytest.raises(UsageError, match="data ended"):
        inputs.make_sampler(iter([]), 4)(generator())
    with pytest.raises(UsageError, match="data is a int"):
        inputs.make_sampler(3, 4)


def test_the_parts_of_a_known_network_are_found():
    """Each neuron adds up two inputs: after a short run one component per used neuron carries it."""
    losses = {
        "few": {"kind": "importance_minimality", "coeff": 1e-2, "p": 1},
        "all": {"kind": "recon"},
        "each": {"kind": "recon", "routing": "layerwise"},
    }
    seen = []
    settings = {
        "C": 6,
        "steps": 700,
        "lr": 1e-2,
        "losses": losses,
        "compile": "never",
        "gate": {"kind": "mlp", "hidden": [8]},
        "schedule": {"kind": "quarter_cosine"},
    }
    watch = lambda step, terms: seen.append(float(terms["all"]))  # noqa: E731
    found = decompose(targets.build_pairs(), ["2"], data=targets.draw_pairs, on_step=watch, **settings)
    assert sum(seen[-50:]) < 0.2 * sum(seen[:50])
    parts = found.components("2")
    assert parts.residual.abs().max() < 0.1
    made = torch.stack([parts.matrix(c).flatten() for c in range(6)])
    best = [torch.cosine_similarity(made, _unit(i)[None]).max() for i in range(4)]
    assert min(best) > 0.97


def _unit(i: int) -> torch.Tensor:
    made = torch.zeros(4, 4)
    made[i, i] = 1
    return made.flatten()


@pytest.mark.parametrize(
    ("model", "modules", "data", "settings"),
    [
        (
            nn.Sequential(nn.Embedding(11, 6), nn.Linear(6, 11)),
            ["0", "1"],
            torch.randint(11, (40, 7)),
            {"compare": "kl"},
        ),
        (
            nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)),
            ["0", "3"],
            torch.rand(40, 1, 6, 6),
            {},
        ),
    ],
)
def test_tokens_and_images_are_decomposed_too(model, modules, data, settings):
    losses = {
        "few": {"kind": "importance_minimality", "coeff": 1e-4},
        "some": {"kind": "recon", "routing": "subset"},
        "hidden": {"kind": "hidden_recon"},
    }
    seen: list[float] = []
    found = decompose(
        model,
        modules,
        data=data,
        C=8,
        steps=60,
        batch=32,
        lr=1e-2,
        losses=losses,
        compile="never",
        on_step=lambda step, terms: seen.append(float(terms["some"])),
        **settings,
    )
    assert sum(seen[-10:]) < sum(seen[:10])
    places = found.importance(data[:4])[modules[0]].shape
    assert places == ((4, 7, 8) if settings else (4, 4, 4, 8))
    torch.testing.assert_close(
        found.ablate({modules[0]: []})(data[:4]), model(data[:4]), rtol=1e-4, atol=1e-5
    )
