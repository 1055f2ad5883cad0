"""Components that no input uses leave, for good, and nothing else changes."""

import torch

from digsite.decompose.config import DecomposeConfig
from digsite.decompose.core.fit import Fit, Problem, retire_unused
from digsite.models import build, parse

IDLE = [1, 4]


def made(seeds: list[int], **settings) -> Fit:
    """Fits whose components 1 and 4 never fire, in a module that is tied to the other one."""

    def sample(generator: torch.Generator) -> torch.Tensor:
        x = torch.rand(100, 5, generator=generator, dtype=torch.float64)
        return x * (torch.rand(100, 5, generator=generator) < 0.2)

    target = build(parse({"kind": "tms"}), 0).untied().double()
    base = {"C": 6, "steps": 10, "lr": 1e-2, "compile": "never", "faithfulness_warmup": {"steps": 5}}
    config = DecomposeConfig.model_validate(base | settings)
    fit = Fit(Problem([target], ["linear1", "linear2"], sample), config, seeds, dtype=torch.float64)
    with torch.no_grad():
        for site in fit.plan.target.sites:
            fit.params[f"gate/{site}/bias"].fill_(9.0)
            fit.params[f"gate/{site}/bias"][:, IDLE] = -9.0
            fit.params[f"gate/{site}/out"].mul_(0.01)
    return fit


def walk(fit: Fit, first: int, last: int) -> Fit:
    for step in range(first, last):
        fit.step(step)
    return fit


def ends(fit: Fit) -> list[torch.Tensor]:
    return [fit.params["linear1/V"].mT, fit.params["linear1/U"]]  # (K, C, d)


def test_unused_components_are_zero_from_the_chosen_step_to_the_last():
    fit = walk(made([3, 4], retire=0.6), 0, 6)
    assert all((end != 0).all() for end in ends(fit))
    walk(fit, 6, 10)
    for end in ends(fit):
        assert (end[:, IDLE] == 0).all()
        assert (end[:, [0, 2, 3, 5]] != 0).all()


def test_what_they_held_passes_to_the_residual():
    fit = walk(made([3]), 0, 3)
    before, whole = (
        fit.make_decomposition(0).components("linear1"),
        fit.make_decomposition(0).components("linear1").weight,
    )
    retire_unused(fit)
    after = fit.make_decomposition(0).components("linear1")
    torch.testing.assert_close(after.V @ after.U + after.residual, whole)
    left = [0, 2, 3, 5]
    torch.testing.assert_close(after.V[:, left], before.V[:, left])
    torch.testing.assert_close(after.residual - before.residual, before.V[:, IDLE] @ before.U[IDLE])


def test_a_component_that_one_of_two_tied_modules_uses_stays():
    fit = walk(made([3]), 0, 2)
    assert fit.plan.owners["linear2"] == "linear1"
    with torch.no_grad():
        fit.params["gate/linear2/bias"][:, IDLE[0]] = 9.0
    retire_unused(fit)
    gone = (fit.params["linear1/U"][0] == 0).all(-1)
    assert gone.nonzero().flatten().tolist() == IDLE[1:]


def test_it_is_never_done_unasked():
    assert DecomposeConfig().retire == 0
    assert all((end != 0).all() for end in ends(walk(made([3]), 0, 10)))
