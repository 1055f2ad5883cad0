"""One step of the fast path is one step of the method as it is written down, in float64; and it walks few files."""

import re
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from digsite.decompose.config import DecomposeConfig
from digsite.decompose.core import reference
from digsite.decompose.core.fit import Fit, Problem
from digsite.models import build, parse

ROOT = Path(__file__).parents[3]
COEFFS = (3e-2, 1.0, 0.5)
MOST_FILES = 12
LOSSES = {
    "few": {"kind": "importance_minimality", "coeff": COEFFS[0], "p": 2, "eps": 0},
    "all": {"kind": "recon", "coeff": COEFFS[1]},
    "each": {"kind": "recon", "coeff": COEFFS[2], "routing": "layerwise"},
}
RESID = {"kind": "resid_mlp", "n_features": 5, "d_resid": 14, "d_mlp": 4, "n_layers": 2}


def superposed(seed: int) -> nn.Module:
    return build(parse({"kind": "tms"}), seed).untied().double()


def residual(seed: int) -> nn.Module:
    return build(parse(RESID), seed).double()


def sparse(generator: torch.Generator) -> torch.Tensor:
    x = torch.rand(120, 5, generator=generator, dtype=torch.float64)
    return x * (torch.rand(120, 5, generator=generator) < 0.1)


def fit(make, modules, members: int, **settings) -> Fit:
    base = {
        "C": 7,
        "steps": 10,
        "lr": 1e-2,
        "losses": LOSSES,
        "faithfulness_warmup": {"steps": 3},
        "tied": False,
    }
    config = DecomposeConfig.model_validate(base | {"compile": "never"} | settings)
    models = [make(seed) for seed in range(members)]
    return Fit(Problem(models, modules, sparse), config, list(range(members)), dtype=torch.float64)


def chance_of(
    made: Fit, k: int, x: torch.Tensor, counts: torch.Tensor, index: int
) -> dict[str, torch.Tensor]:
    """The numbers that the fast path draws for member k, each row as often as it stands for rows."""
    params = {name: value[0] for name, value in made.params.items()}
    layout = made.program.find_layout(x[0], made.read_weights(0), params)
    drawn = made.draws.split_noise(layout, made.draws.draw_noise(layout, index)[k])
    rows = counts[k].long()
    return {key.replace("/0/", "/"): value.repeat_interleave(rows, 0) for key, value in drawn.items()}


@pytest.mark.parametrize("compare", ["plain", "shortcuts"])
@pytest.mark.parametrize(
    ("make", "modules"),
    [(superposed, ["linear1", "linear2"]), (residual, ["layers.*.mlp_in", "layers.*.mlp_out"])],
)
def test_the_fast_path_is_the_method_as_it_is_written_down(make, modules, compare):
    """Two members at once; with shortcuts, rows of zeros are merged and a frozen embedding is multiplied in."""
    on = compare == "shortcuts"
    made = fit(make, modules, 2, merge_zero_rows=on, fold=on)
    models = made.problem.models
    own = [
        {name: value[k].detach().clone().requires_grad_() for name, value in made.params.items()}
        for k in (0, 1)
    ]
    memories: list[dict] = [{}, {}]
    for step in range(3):
        x, counts = made.draws.draw_stack(step)
        chances = [chance_of(made, k, x, counts, step) for k in (0, 1)]
        fast = made.step(step)
        for k in (0, 1):
            rows = x[k].repeat_interleave(counts[k].long(), 0)
            terms = reference.measure_terms(models[k], rows, own[k], chances[k], p=2.0)
            for name, term in zip(LOSSES, terms, strict=True):
                close = 1e-6 if step else 1e-9  # parts that nothing moves divide a zero by a zero in Adam
                torch.testing.assert_close(fast[name][k], term.detach(), rtol=close, atol=1e-12)
            total = sum(c * term for c, term in zip(COEFFS, terms, strict=True))
            slopes = list(torch.autograd.grad(total, list(own[k].values())))
            reference.update_params(own[k], slopes, memories[k], lr=1e-2, beta2=0.999)
            for name, value in own[k].items():
                torch.testing.assert_close(made.params[name][k], value, rtol=1e-6, atol=1e-8)


def test_a_step_walks_few_files():
    """Whoever wants to follow a step opens this many files of the package, and not more."""
    made = fit(superposed, ["linear1", "linear2"], 2)
    made.step(0)
    walked: set[str] = set()

    def follow(frame, event, _):
        path = frame.f_code.co_filename
        if event == "call" and "/digsite/" in path:
            walked.add(path.partition("/digsite/")[2])

    sys.setprofile(follow)
    try:
        made.step(1)
    finally:
        sys.setprofile(None)
    walked -= {
        path for path in walked if not path.startswith(("decompose", "base"))
    }  # the model's own architecture
    assert len(walked) <= MOST_FILES, sorted(walked)


def test_the_reference_is_short_and_the_page_quotes_it():
    text = Path(reference.__file__).read_text()
    assert len(text.splitlines()) <= 120
    page = (ROOT / "docs" / "decompose.md").read_text()
    (quoted,) = re.findall(r"<!-- reference -->\n```python fragment\n(.*?)```", page, re.S)
    assert quoted.strip() in text
