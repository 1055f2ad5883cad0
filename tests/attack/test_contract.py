"""The rule of public methods, held against every one that the packages export: a finite answer, a named hole, or a sentence."""

import importlib
import inspect
import math
import random
import warnings
import zlib
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from torch import nn

from digsite.base.contract import numbers_in
from digsite.base.errors import DigsiteError

PACKAGES = (
    "read",
    "prune",
    "decompose",
    "track",
    "graft",
    "zoo",
    "train",
    "models",
    "data",
    "weights",
    "figures",
)
# Not methods on numbers: callbacks for other frameworks, context managers, and the process's own settings.
OTHERS = {
    "lightning_callback",
    "transformers_callback",
    "watching",
    "prepare_process",
    "styled",
    "names",
    "place_legend",
}


def public_functions():
    """Every exported function by package and name."""
    for package in PACKAGES:
        module = importlib.import_module(f"digsite.{package}")
        for name in module.__all__:
            found = getattr(module, name)
            if inspect.isfunction(found) and name not in OTHERS:
                yield f"{package}.{name}", found


FUNCTIONS = dict(public_functions())


def test_every_exported_function_is_held_to_the_rule():
    bare = [name for name, function in FUNCTIONS.items() if not hasattr(function, "__public_method__")]
    assert not bare, f"mark them with @public_method: {', '.join(bare)}"
    assert len(FUNCTIONS) > 35


def arrays(rng: random.Random) -> list:
    """Tables without rows, with one, constant, NaN, huge, tiny, of wrong ranks and types; and some that are well."""
    g = torch.Generator().manual_seed(rng.randrange(10**6))
    n, d = rng.choice((1, 2, 3, 5, 12, 40)), rng.choice((1, 2, 4, 9))
    well = torch.randn(n, d, generator=g)
    return [
        well,
        well,
        well.T,
        well @ well.T,
        well.softmax(-1).expand(2, 3, n, d),
        well[0],
        well[:, :0],
        well[:0],
        torch.zeros(n, d),
        torch.ones(n, d),
        well * float("nan"),
        well.masked_fill(torch.rand(n, d, generator=g) < 0.2, float("nan")),
        well * 1e38 * 10,
        well * 1e30,
        well * 1e-30,
        well + 1e6,
        well.double(),
        well.half(),
        well.bfloat16(),
        well > 0,
        (well > 0).numpy(),
        torch.randint(0, 3, (n,), generator=g),
        torch.randint(0, 3, (n, d), generator=g),
        torch.tensor(3.0),
        torch.tensor([]),
        well.numpy(),
        well.numpy().astype(object),
        np.array(["a", "b"]),
        well.to(torch.complex64),
        well.to_sparse(),
        torch.randn(2, 2, 3, 3, generator=g),
        torch.eye(n),
        -torch.eye(n),
        np.zeros((0, 3)),
        np.float32(1.0),
        torch.linspace(0, 1, n),
        torch.rand(n, generator=g).numpy(),
        np.arange(40.0),
        np.r_[np.zeros(30), np.ones(30)],
        [1.0] * 30,
        list(range(25)),
        [],
        [[1], [2, 3]],
        torch.full((n, d), 1.0 / d),
        torch.rand(n, d, generator=g).requires_grad_(),
    ]


def odd_things(rng: random.Random) -> list:
    """What is no array, from nothing to a model without parameters."""
    return [
        None,
        True,
        0,
        1,
        -1,
        3,
        10**9,
        0.5,
        -2.0,
        float("nan"),
        float("inf"),
        "",
        "text",
        "rows",
        "columns",
        "wanda",
        "kmeans",
        "\ud800",
        b"bytes",
        (),
        {},
        {"a": 1},
        [None],
        object(),
        int,
        len,
        Path("nowhere"),
        Path(),
        nn.Linear(3, 2),
        nn.Sequential(),
        nn.ReLU(),
        nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)),
        torch.Generator(),
        lambda: 1,
        range(3),
        {1, 2},
        1j,
    ]


def arguments(function, rng: random.Random) -> tuple[list, dict]:
    """Something for each required parameter, and for some of the others."""
    args, more = [], {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        required = parameter.default is parameter.empty
        if not required and rng.random() < 0.75:
            continue
        value = _value(name, rng)
        if parameter.kind is parameter.KEYWORD_ONLY or not required:
            more[name] = value
        else:
            args.append(value)
    return args, more


def _value(name: str, rng: random.Random):
    if name == "generator" and rng.random() < 0.8:
        return torch.Generator().manual_seed(0)
    if name in ("path", "folder", "out") and rng.random() < 0.9:
        return rng.choice(
            (Path("/nowhere/x.npz"), "/dev/null", Path("/proc/self"), None, "x" * 5000, Path("x.bin"))
        )
    if name in ("draws", "n", "k", "seed", "n_test", "total", "count", "total_steps") and rng.random() < 0.7:
        return rng.choice((0, 1, 2, 3, 5, 20, -1, 1.5, None, "x"))
    return rng.choice(arrays(rng)) if rng.random() < 0.75 else rng.choice(odd_things(rng))


def attack_method(name: str, seed: int, calls: int) -> tuple[int, list[str]]:
    """Call one function with degenerate arguments: how many calls were answered, and what broke the rule."""
    function, answered, broken = FUNCTIONS[name], 0, []
    for i in range(calls):
        rng = random.Random(zlib.crc32(f"{name} {seed} {i}".encode()))
        args, more = arguments(function, rng)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = function(*args, **more)
        except DigsiteError as error:
            if not str(error) or len(str(error)) > 3000:
                broken.append(f"{name} #{i}: no sentence: {str(error)[:200]!r}")
        except Exception as error:
            broken.append(f"{name} #{i}: {error!r:.300}")
        else:
            answered += 1
            said = function.__doc__ or ""
            holes = [key for key, value in numbers_in(result) if _has_nan(value) and "NaN" not in said]
            broken += [f"{name} #{i}: a silent NaN in {key!r}" for key in holes[:1]]
    return answered, broken


def _has_nan(value) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    return "float" in str(value.dtype) and bool((value != value).any())


@pytest.fixture(autouse=True)
def _as_users_have_it():
    """The checks of shapes that tests add are off: a user's wrong argument meets the function itself."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_degenerate_calls_end_in_an_answer_or_a_sentence(name):
    _, broken = attack_method(name, 27, 8)
    assert not broken, "\n".join(broken[:5])


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_five_thousand_degenerate_calls(name):
    """The functions share them; which of them answer at all is told by the test of every function together."""
    _, broken = attack_method(name, 28, -(-5000 // len(FUNCTIONS)))
    assert not broken, (len(broken), broken[:10])


def test_some_degenerate_calls_are_answered():
    """An attack that is refused at every door attacks nothing."""
    assert sum(attack_method(name, 29, 3)[0] for name in FUNCTIONS) > 5
