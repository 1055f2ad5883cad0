"""Member i of an ensemble is the same network trained alone: by this trainer, and by torch.optim in a plain loop."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.models import build, parse
from digsite.train import Backdoor, Ensemble, Member, Stream, evaluate, seeds, share_data, train_ensemble
from digsite.train.feeds import Batch

OPTIMIZERS = ("sgd", "momentum", "rmsprop", "adam", "adamw")
FAMILIES = {
    "mlp": ({"kind": "mlp", "sizes": [36, 12, 8, 5]}, "cross_entropy"),
    "cnn": (
        {"kind": "cnn", "image": [1, 6, 6], "channels": [3, 4], "padding": 1, "n_classes": 5},
        "cross_entropy",
    ),
    "wild_cnn": (
        {
            "kind": "wild_cnn",
            "channels": [3, 4, 4],
            "skips": [None, 0, 0],
            "strides": [2, 1, 1],
            "activations": ["relu", "gelu", "tanh"],
            "n_classes": 5,
        },
        "cross_entropy",
    ),
    "transformer": (
        {
            "kind": "transformer",
            "image": [1, 6, 6],
            "patch": 3,
            "d_model": 8,
            "n_heads": 2,
            "d_mlp": 12,
            "n_layers": 1,
        }
        | {"n_classes": 5},
        "cross_entropy",
    ),
    "gru": ({"kind": "gru", "n_inputs": 6, "n_hidden": 7, "n_classes": 5}, "cross_entropy"),
    "lm": (
        {"kind": "gpt2", "vocab": 11, "context": 8, "d_model": 8, "n_heads": 2, "n_layers": 1, "d_mlp": 12},
        "next_token",
    ),
    "tms": ({"kind": "tms"}, "mse"),
    "resid_mlp": ({"kind": "resid_mlp", "n_features": 6, "d_resid": 10, "d_mlp": 5}, "mse"),
}


def family(name: str) -> tuple[nn.Module, str, object]:
    spec, loss = FAMILIES[name]
    model = build(parse(spec))
    g = torch.Generator().manual_seed(1)
    if name == "lm":
        return model, loss, torch.randint(0, 11, (60, 8), generator=g)
    if loss == "mse":
        n = spec.get("n_features", 5)

        def batch(step: int) -> tuple[Tensor, Tensor]:
            own = torch.Generator().manual_seed(step)
            x = torch.rand(16, n, generator=own) * (torch.rand(16, n, generator=own) < 0.3)
            return x, x.relu()

        return model, loss, batch
    return model, loss, (torch.rand(90, 1, 6, 6, generator=g), torch.randint(0, 5, (90,), generator=g))


def members(optimizer: str, steps: int = 100) -> list[Member]:
    rate = 0.05 if optimizer in ("sgd", "momentum") else 1e-3
    template = Member(
        optimizer=optimizer, lr=rate, batch=16, steps=steps, weight_decay=1e-3, schedule="cosine", warmup=7
    )
    return [
        template,
        replace(template, seed=1, lr=rate / 3, weight_decay=0.0, schedule="linear"),
        replace(template, seed=2, steps=steps // 2, momentum=0.5 if optimizer == "momentum" else None),
    ]


def plain_loop(
    model: nn.Module, ensemble: Ensemble, member: Member, place: int
) -> tuple[Tensor, torch.optim.Optimizer]:
    """The textbook loop: torch.optim on one module, with the batches that this member's feed gives."""
    names = {"sgd": torch.optim.SGD, "momentum": torch.optim.SGD, "rmsprop": torch.optim.RMSprop}
    kind = (
        names.get(member.optimizer)
        or {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[member.optimizer]
    )
    extra = {"momentum": member.momentum or 0.9} if member.optimizer == "momentum" else {}
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = kind(trained, lr=member.lr, weight_decay=member.weight_decay, **extra)
    decline = {
        "cosine": lambda a: (1 + math.cos(math.pi * a)) / 2,
        "linear": lambda a: 1 - a,
        "constant": lambda a: 1,
    }

    def factor(step: int) -> float:
        if step < member.warmup:
            return (step + 1) / member.warmup
        return decline[member.schedule]((step - member.warmup) / max(member.steps - member.warmup, 1))

    feed = ensemble.groups[0].feed
    for step in range(member.steps):
        batch: Batch = feed.batch(step, len(ensemble.members))
        x, y = (batch.x, batch.y) if batch.shared else (batch.x[place], batch.y[place])
        optimizer.param_groups[0]["lr"] = member.lr * factor(step)
        optimizer.zero_grad()
        ensemble.loss(model(x), y).backward()
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in trained]), optimizer


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_member_equals_plain_torch_optim(name, optimizer):
    model, loss, data = family(name)
    recipe = members(optimizer)
    options = {"loss": loss, "dtype": torch.float64}
    trained = Ensemble(model, data, recipe, **options)
    alone = [trained.module(place).train() for place in range(len(recipe))]
    while not trained.done:
        trained.step()
    place = {member: at for at, index in enumerate(trained.indices[0]) for member in [index]}
    for i in (0, 2):
        expected, _ = plain_loop(alone[i], Ensemble(model, data, recipe, **options), recipe[i], place[i])
        # Adam turns rounding noise into steps where the true gradient is 0 (the bias of attention keys).
        assert relative(trained.flat[i], expected) < 1e-5


@pytest.mark.parametrize("name", ["mlp", "cnn", "transformer", "tms"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_member_alone_is_the_same_in_single_precision(name, optimizer):
    model, loss, data = family(name)
    recipe = members(optimizer)
    together = train_ensemble(model, data, recipe, loss=loss).flat
    alone = train_ensemble(model, data, recipe[1:2], loss=loss, engine="loop").flat[0]
    exact = train_ensemble(model, data, recipe[1:2], loss=loss, engine="loop", dtype=torch.float64).flat[0]
    # 1e-5, unless a single network in single precision is itself not that near to the exact result.
    assert relative(together[1], alone) < max(1e-5, 3 * relative(alone, exact.float()))


VARIED = [
    Member(seed=0, batch=16, steps=60, dropout=0.4, lr=3e-3),
    Member(seed=1, batch=16, steps=60, dropout=0.1, label_noise=0.3, fraction=0.5, init="orthogonal"),
    Member(seed=2, batch=16, steps=45, missing=(3,), optimizer="sgd", lr=0.1, init="normal", init_scale=0.2),
    Member(seed=3, batch=8, epochs=3, backdoor=Backdoor(1, row=2, column=3, rate=0.2), init="he"),
]


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_every_factor_leaves_members_independent(name):
    spec = FAMILIES[name][0] | {"dropout": 0.25}
    model, data = build(parse(spec)), family(name)[2]
    together = train_ensemble(model, data, VARIED, dtype=torch.float64).flat
    for i, member in enumerate(VARIED):
        alone = train_ensemble(model, data, [member], engine="loop", dtype=torch.float64).flat[0]
        assert relative(together[i], alone) < 1e-9


def test_members_with_one_data_seed_share_batches_and_train_the_same():
    model, loss, data = family("mlp")
    recipe = share_data(seeds(3, Member(batch=16, steps=40)), seed=9)
    shared = Ensemble(model, data, recipe, dtype=torch.float64)
    assert shared.groups[0].feed.batch(0, 3).shared
    other = [*recipe, Member(seed=5, batch=16, steps=40)]
    own = train_ensemble(model, data, other, dtype=torch.float64)
    assert not own.ensemble.groups[0].feed.batch(0, 4).shared
    while not shared.done:
        shared.step()
    assert relative(own.flat[:3], shared.flat) < 1e-9


def test_chunks_change_nothing():
    model, loss, data = family("cnn")
    recipe = seeds(5, Member(batch=16, steps=30))
    whole = train_ensemble(model, data, recipe, chunk=5, dtype=torch.float64).flat
    assert relative(train_ensemble(model, data, recipe, chunk=2, dtype=torch.float64).flat, whole) < 1e-9


def test_diverged_member_is_frozen_and_the_others_go_on():
    model, loss, data = family("mlp")
    wild = Member(seed=1, optimizer="sgd", lr=1e30, batch=16, steps=50)
    calm = Member(seed=0, optimizer="sgd", lr=0.1, batch=16, steps=50)
    ensemble = train_ensemble(model, data, [wild, calm]).ensemble
    assert ensemble.diverged_at[0] >= 0 and ensemble.diverged_at[1] == -1
    assert torch.isfinite(ensemble.flat).all()
    alone = train_ensemble(model, data, [calm]).flat[0]
    assert relative(ensemble.flat[1], alone) < 1e-6


def test_resume_from_state_is_bit_equal():
    model, loss, data = family("mlp")
    recipe = [replace(m, dropout=0.2) for m in members("adam", 60)]
    model = build(parse(FAMILIES["mlp"][0] | {"dropout": 0.1}))
    straight = Ensemble(model, data, recipe)
    while not straight.done:
        straight.step()
    first = Ensemble(model, data, recipe)
    for _ in range(23):
        first.step()
    state = {g: {k: v.clone() for k, v in s.items()} for g, s in first.state().items()}
    second = Ensemble(model, data, recipe)
    second.load(state)
    while not second.done:
        second.step()
    assert torch.equal(second.flat, straight.flat)


@pytest.mark.parametrize(
    ("optimizer", "slots"), [("adam", ("exp_avg", "exp_avg_sq")), ("momentum", ("momentum_buffer",))]
)
def test_the_optimizer_remembers_of_a_member_what_torch_does(optimizer, slots):
    model, loss, data = family("mlp")
    recipe = members(optimizer, 30)
    trained = Ensemble(model, data, recipe, loss=loss, dtype=torch.float64)
    alone = trained.module(2).train()
    while not trained.done:
        trained.step()
    place = trained.indices[0].index(2)
    fresh = Ensemble(model, data, recipe, loss=loss, dtype=torch.float64)
    _, theirs = plain_loop(alone, fresh, recipe[2], place)
    ours = trained.optimizer_state(2)
    names = {"exp_avg": "mean", "exp_avg_sq": "square", "momentum_buffer": "velocity"}
    for name, parameter in alone.named_parameters():
        for slot in slots:
            expected = theirs.state[parameter][slot]
            assert relative(ours[f"{names[slot]}/{name}"], expected) < 1e-6


def test_frozen_parameters_and_their_own_values_stay():
    model, loss, data = family("resid_mlp")
    trained = train_ensemble(model, data, seeds(2, Member(steps=5, batch=16)), loss=loss).ensemble
    embedding = trained.params["W_E"]
    assert torch.allclose(embedding.norm(dim=-1), torch.ones(2, 6))
    assert not torch.equal(embedding[0], embedding[1])
    assert torch.equal(trained.module(1).W_E, embedding[1])


def test_a_frozen_layer_inside_of_a_plain_chain_is_run_and_stays():
    """The fast engines read trained weights alone, and once died on the name of a frozen one."""
    model, loss, data = family("mlp")
    model.layers[1].weight.requires_grad_(False)
    trained = train_ensemble(model, data, seeds(2, Member(steps=5, batch=16)), loss=loss).ensemble
    start = Ensemble(model, data, seeds(2, Member(steps=5, batch=16)), loss=loss)
    assert torch.equal(trained.params["layers.1.weight"], start.params["layers.1.weight"])
    assert not torch.equal(trained.params["layers.0.weight"], start.params["layers.0.weight"])


def test_start_weights_are_used():
    model, loss, data = family("mlp")
    given = dict(model.named_parameters())
    ensemble = Ensemble(model, data, seeds(2), start=given)
    assert torch.equal(ensemble.params["layers.0.weight"][1], given["layers.0.weight"])


def test_module_and_forward_agree_and_evaluate_counts_by_hand():
    model, loss, (x, y) = family("cnn")
    ensemble = train_ensemble(model, (x, y), seeds(3, Member(steps=20, batch=16))).ensemble
    logits = ensemble.forward(x)
    by_hand = torch.stack([ensemble.module(i)(x) for i in range(3)]).detach()
    assert torch.allclose(logits, by_hand, atol=1e-5)
    scores = evaluate(ensemble, x, y, batch=40)
    assert torch.allclose(scores.accuracy, (by_hand.argmax(-1) == y).float().mean(1))
    assert torch.allclose(
        scores.loss, torch.stack([nn.functional.cross_entropy(o, y) for o in by_hand]), atol=1e-5
    )


def test_a_stream_per_member_gives_each_its_own_data():
    def batch(step: int, member: Member) -> tuple[Tensor, Tensor]:
        x = torch.rand(8, 5, generator=torch.Generator().manual_seed(1000 * member.seed + step))
        return x, x

    model = family("tms")[0]
    recipe = seeds(3, Member(steps=30))
    data = Stream(batch, per_member=True)
    together = train_ensemble(model, data, recipe, loss="mse", dtype=torch.float64).flat
    alone = train_ensemble(model, data, recipe[2:], loss="mse", dtype=torch.float64).flat[0]
    assert relative(together[2], alone) < 1e-9


def test_a_factory_and_a_users_loss_work():
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.by = nn.Parameter(torch.rand(3))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.by

    def loss(outputs: Tensor, y: Tensor) -> Tensor:
        return (outputs - y).abs().mean()

    x = torch.rand(50, 3)
    options = {"loss": loss, "members": seeds(2, Member(lr=0.02, batch=10, steps=300))}
    ensemble = train_ensemble(Scale, (x, 2 * x), **options).ensemble
    assert torch.allclose(ensemble.params["by"], torch.full((2, 3), 2.0), atol=0.1)
    with pytest.raises(UsageError, match="'by' has no seeded initial value"):
        train_ensemble(Scale(), (x, x), **options)


def test_batch_norm_keeps_its_own_statistics():
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 5))
    _, _, data = family("mlp")
    recipe = seeds(2, Member(steps=20, batch=16))
    together = train_ensemble(model, data, recipe, dtype=torch.float64).ensemble
    alone = train_ensemble(model, data, recipe[1:], engine="loop", dtype=torch.float64).ensemble
    assert relative(together.module(1)[2].running_var, alone.module(0)[2].running_var) < 1e-9
    assert relative(together.flat[1], alone.flat[0]) < 1e-9


def test_no_members_is_a_sentence():
    model, loss, data = family("mlp")
    with pytest.raises(UsageError, match="at least one member"):
        Ensemble(model, data, [])
