"""Each shortcut gives the same numbers as the plain way, in float64."""

import pytest
import torch
from torch import nn

from digsite.base.errors import DigsiteError, UsageError
from digsite.decompose.config import LOSSES, DecomposeConfig
from digsite.decompose.core import fit as fitting
from digsite.decompose.core import program
from digsite.decompose.core.draws import find_filled_rows, merge_zero_rows
from digsite.decompose.core.fit import Fit, Problem, Vary
from digsite.models import build, parse

TMS = ["linear1", "linear2"]
MLP = ["layers.*.mlp_in", "layers.*.mlp_out"]


def tms(seed: int) -> nn.Module:
    return build(parse({"kind": "tms"}), seed).untied().double()


def resid(seed: int = 0, layers: int = 2) -> nn.Module:
    config = {"kind": "resid_mlp", "n_features": 6, "d_resid": 20, "d_mlp": 4, "n_layers": layers}
    return build(parse(config), seed).double()


def sparse(generator: torch.Generator) -> torch.Tensor:
    x = torch.rand(200, 5, generator=generator, dtype=torch.float64)
    return x * (torch.rand(200, 5, generator=generator) < 0.05)


def six(generator: torch.Generator) -> torch.Tensor:
    x = torch.rand(32, 6, generator=generator, dtype=torch.float64)
    return x * (torch.rand(32, 6, generator=generator) < 0.2)


def config(**settings) -> DecomposeConfig:
    base = {"C": 7, "steps": 10, "lr": 1e-2, "compile": "never", "faithfulness_warmup": {"steps": 5}}
    return DecomposeConfig.model_validate(base | settings)


def every_loss() -> dict[str, dict]:
    made = {kind: {"kind": kind} for kind in LOSSES if kind != "embedding_recon"}
    return made | {
        f"{m}_{r}": {"kind": "recon", "masks": m, "routing": r}
        for m in ("stochastic", "ci", "none")
        for r in ("all", "layerwise", "subset")
    }


def fit(models, seeds, sample=sparse, modules=TMS, **settings) -> Fit:
    return Fit(Problem(models, modules, sample), config(**settings), seeds, dtype=torch.float64)


def walk(made: Fit, steps: int = 3) -> Fit:
    for step in range(steps):
        made.step(step)
    return made


@pytest.mark.parametrize("gate", ["mlp", "linear", "vector", "shared", "global_mlp", "global_transformer"])
def test_members_of_a_stack_are_what_they_are_alone(gate):
    models = [tms(0), tms(1), tms(2)]
    settings = {"losses": every_loss(), "gate": {"kind": gate}, "clip": 0.5, "jitter": True}
    together = walk(fit(models, [10, 11, 12], **settings))
    for k, seed in enumerate([10, 11, 12]):
        alone = walk(fit([models[k]], [seed], **settings)).read_member(0)
        for name, value in together.read_member(k).items():
            torch.testing.assert_close(value, alone[name], rtol=1e-9, atol=1e-11)


def test_members_that_would_leave_the_cache_step_one_by_one(monkeypatch):
    losses = {name: loss for name, loss in every_loss().items() if loss["kind"] != "adversarial"}
    models = [tms(0), tms(1)]
    stacked = walk(fit(models, [4, 5], losses=losses))
    monkeypatch.setattr("digsite.decompose.core.program.STACKED_MB", 0)
    alone = walk(fit(models, [4, 5], losses=losses))
    assert alone.program.one_by_one and not stacked.program.one_by_one
    for name, value in stacked.params.items():
        torch.testing.assert_close(alone.params[name], value, rtol=1e-9, atol=1e-11)


def test_one_target_from_several_seeds_gives_different_members():
    made = walk(fit([tms(0)], [1, 2]))
    assert not torch.allclose(made.read_member(0)["linear1/V"], made.read_member(1)["linear1/V"])


def test_one_row_of_zeros_stands_for_all():
    """The same masks on the rows that are kept: same losses, same gradients."""
    made = fit([tms(0)], [3], losses=every_loss())
    assert 0 < made.draws.capacity < 200
    x = sparse(torch.Generator().manual_seed(5))
    small, counts = merge_zero_rows(x, made.draws.capacity)
    kept = find_filled_rows(x)
    program, params = made.program, made.read_member(0)
    big_layout, small_layout = program.find_layout(x, None, params), program.find_layout(small, None, params)
    big = torch.rand(1, _size(made, big_layout), dtype=torch.float64)
    noise = made.draws.split_noise(big_layout, big[0])
    rows = torch.cat([kept.nonzero()[:, 0], (~kept).nonzero()[:, 0]])[: len(small)]
    chosen = torch.cat([(v[rows] if len(v) == len(x) else v).flatten() for v in noise.values()])[None]
    ones = torch.ones(1, len(x), dtype=torch.float64)
    start, args = torch.tensor(0.0, dtype=torch.float64), (made.coeffs, *made.params.values())
    terms, slopes = program._compute_stack(start, x[None], ones, big, *args)
    merged_terms, merged_slopes = program._compute_stack(start, small[None], counts[None], chosen, *args)
    assert small_layout.positions != big_layout.positions
    torch.testing.assert_close(terms, merged_terms, rtol=1e-12, atol=1e-14)
    for a, b in zip(slopes, merged_slopes, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-13)


def _size(made: Fit, layout) -> int:
    return sum(torch.Size(shape).numel() for shape in made.draws.list_shapes(layout).values())


def test_zero_rows_are_kept_where_a_bias_speaks():
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 5)).double()
    assert fit([model], [0], modules=["0", "2"]).draws.capacity == 0


@pytest.mark.parametrize("seeds", [[4], [4, 5]])
def test_folding_a_frozen_embedding_changes_nothing(seeds):
    models = [resid(seed) for seed in seeds]
    losses = {name: loss for name, loss in every_loss().items() if loss["kind"] != "hidden_recon"}
    folded = fit(models, seeds, six, MLP, losses=losses)
    plain = fit(models, seeds, six, MLP, losses=losses, fold=False)
    assert type(folded.program.runner.target) is not type(plain.program.runner.target)
    for step in range(2):
        a, b = folded.step(step), plain.step(step)
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=1e-9, atol=1e-12)
    for name, value in plain.read_member(0).items():
        torch.testing.assert_close(folded.read_member(0)[name], value, rtol=1e-7, atol=1e-9)


@pytest.mark.skipif(not program.can_compile(), reason="no C++ compiler")
def test_the_compiled_step_is_the_eager_step():
    eager, fast = (walk(fit([tms(0), tms(1)], [0, 1], compile=how)) for how in ("never", "always"))
    for name, value in eager.params.items():
        torch.testing.assert_close(fast.params[name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("how", [{}, {"recompute": "always"}])
@pytest.mark.parametrize("targets", [1, 2])
def test_early_blocks_taken_from_the_first_pass_change_nothing(how, targets, monkeypatch):
    models = [resid(k, layers=3) for k in range(targets)]  # one for both seeds, or one each
    losses = {name: loss for name, loss in every_loss().items() if loss["kind"] != "adversarial"}
    settings = {"losses": losses, "fold": False, **how}
    once = walk(fit(models, [4, 5], six, ["layers.2.*"], **settings))
    monkeypatch.setattr("digsite.decompose.core.target.can_replay", lambda *_: False)
    always = walk(fit(models, [4, 5], six, ["layers.2.*"], **settings))
    assert once.target.replays and not always.target.replays
    for name, value in always.params.items():
        torch.testing.assert_close(once.params[name], value, rtol=1e-9, atol=1e-12)
    scene = once.make_decomposition(1).scene(six(torch.Generator().manual_seed(0)))
    assert scene.early is not None and len(scene.early.outputs) == 2


def test_accumulated_batches_are_one_large_batch():
    one, two = (fit([tms(0)], [0], accumulate=n, merge_zero_rows=False) for n in (1, 2))
    slopes = [one.compute_gradients(*one.draws.draw_stack(i), i, 0.0)[1] for i in (0, 1)]
    total = []
    two.updates.apply_slopes = lambda slopes, i: total.extend(slopes)  # type: ignore[method-assign]
    two.step(0)
    for a, b, c in zip(*slopes, total, strict=True):
        torch.testing.assert_close((a + b) / 2, c)


def test_a_stopped_fit_goes_on_where_it_was():
    whole = walk(fit([tms(0)], [0]), 6)
    first = walk(fit([tms(0)], [0]), 3)
    second = fit([tms(0)], [0])
    second.load_state(first.read_state())
    for step in range(3, 6):
        second.step(step)
    assert all(torch.equal(value, second.params[name]) for name, value in whole.params.items())


@pytest.mark.parametrize("models", [1, 3])
def test_members_that_stay_in_a_smaller_stack_become_the_same(models):
    seeds, vary = [4, 5, 6], Vary(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([1.0, 0.5, 0.25]))
    problem = Problem([tms(k) for k in range(models)], TMS, sparse)
    settings = config(losses={"a": {"kind": "recon"}})
    whole, part = (Fit(problem, settings, seeds, vary=vary, dtype=torch.float64) for _ in range(2))
    walk(whole, 6)
    walk(part, 3).keep_members([2, 0])
    for step in range(3, 6):
        part.step(step)
    for at, k in enumerate([2, 0]):
        for name, value in whole.read_member(k).items():
            torch.testing.assert_close(part.read_member(at)[name], value, rtol=1e-9, atol=1e-11)


def test_the_caller_keeps_the_model():
    model = tms(0).float()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    walk(fit([model], [0]))
    assert all(
        torch.equal(before[name], value) and value.dtype == torch.float32
        for name, value in model.state_dict().items()
    )
    assert all("forward" not in module.__dict__ for module in model.modules())
    assert all(p.requires_grad for p in model.parameters())


def test_a_loss_that_is_not_finite_is_named():
    made = fit([tms(0)], [0])
    with torch.no_grad():
        made.params["linear1/V"][0, 0, 0] = float("nan")
    with pytest.raises(DigsiteError, match="importance_minimality.*member 0.*step 0"):
        made.step(0)


@pytest.mark.parametrize(
    ("settings", "modules", "text"),
    [
        ({}, ["linear9"], "No module matches 'linear9'. Did you mean"),
        ({"C": 0}, TMS, "at least one component"),
        ({"C": {"linear1": 5}}, TMS, "nothing about the module 'linear2'"),
        ({"losses": {}}, TMS, "no loss"),
        ({"losses": {"a": {"kind": "recon", "coeff": 0}}}, TMS, "coefficient 0"),
        ({"losses": {"a": {"kind": "embedding_recon"}}}, TMS, "exactly one decomposed module"),
        ({"losses": {"a": {"kind": "adversarial"}}, "recompute": "always"}, TMS, "recompute"),
        ({"recompute": "always", "compile": "always"}, TMS, "exclude each other"),
    ],
)
def test_what_cannot_be_is_said(settings, modules, text):
    with pytest.raises(UsageError, match=text):
        fit([tms(0)], [0], modules=modules, **settings)


def test_a_target_with_dropout_is_refused():
    model = nn.Sequential(nn.Linear(5, 4), nn.Dropout(0.5), nn.Linear(4, 5)).double()
    with pytest.raises(UsageError, match=r"model\.eval\(\)"):
        fit([model.train()], [0], modules=["0"])


def test_layers_that_cannot_be_decomposed_are_named():
    model = nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4)).double()
    with pytest.raises(UsageError, match="'1' is a LayerNorm"):
        fit([model], [0], modules=["1"])


def test_only_what_can_be_decomposed_is_suggested():
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 5)).double()
    with pytest.raises(UsageError, match=r"Accepted: 0, 2\.$"):
        fit([model], [0], modules=["layers.*"])
    with pytest.raises(UsageError, match=r"No layer of this model can be decomposed\.$"):
        fit([nn.Sequential(nn.ReLU()).double()], [0], modules=["layers.*"])


def test_recomputing_saves_memory_and_changes_nothing():
    losses = {name: loss for name, loss in every_loss().items() if loss["kind"] != "adversarial"}
    plain, frugal = (walk(fit([tms(0)], [0, 1], losses=losses, recompute=r)) for r in ("never", "always"))
    assert frugal.program.one_by_one and not plain.program.one_by_one
    for name, value in plain.params.items():
        torch.testing.assert_close(frugal.params[name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("gate", ["mlp", "vector", "shared", "global_mlp"])
def test_a_step_that_would_keep_too_much_is_recomputed(gate):
    losses = {"a": {"kind": "importance_minimality"}, "b": {"kind": "recon", "routing": "layerwise"}}
    made = fit([resid()], [0], six, MLP, losses=losses, gate={"kind": gate})
    expected = fitting.estimate_kept_bytes(made)
    assert not made.plan.recompute
    assert expected == pytest.approx(fitting.measure_kept_bytes(made, *made.draws.draw_stack(0)), rel=0.01)
    frugal = fit([resid()], [0], six, MLP, losses=losses, gate={"kind": gate}, keep_gb=expected / 2e9)
    assert frugal.plan.recompute
    assert fitting.measure_kept_bytes(frugal, *frugal.draws.draw_stack(0)) < 0.7 * expected
    walk(frugal)
    for name, value in walk(made).params.items():
        torch.testing.assert_close(frugal.params[name], value, rtol=1e-9, atol=1e-12)


def test_bfloat16_passes_are_close():
    exact, rounded = (
        Fit(Problem([tms(0)], TMS, sparse), config(autocast=on), [0, 1]) for on in (False, True)
    )
    a, b = exact.step(0), rounded.step(0)
    for name, value in a.items():
        torch.testing.assert_close(b[name], value, rtol=0.1, atol=1e-3)
        assert not torch.equal(b[name], value)
