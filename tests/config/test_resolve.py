from typing import Annotated, Literal

import pytest

from digsite.base.errors import UsageError
from digsite.config import Config, Field
from digsite.config.resolve import Layers, defaults, difference, dump, validate


class Mlp(Config):
    kind: Literal["mlp"] = "mlp"
    hidden: int = Field(16, gt=0, description="hidden width")


class Linear(Config):
    kind: Literal["linear"] = "linear"
    bias: bool = Field(True, description="add a bias")


class Study(Config):
    lr: float = Field(1e-3, gt=0, description="learning rate")
    gate: Annotated[Mlp | Linear, Field(discriminator="kind")] = Field(Mlp(), description="gate")
    sizes: list[int] = Field([1], description="sizes")


def test_every_field_needs_a_description():
    with pytest.raises(AssertionError, match="without a description: bare"):

        class Bad(Config):
            bare: int = 1


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"lrr": 1}, r"Unknown key 'lrr'.*Did you mean 'lr'"),
        ({"gate": {"kind": "mlp", "hiden": 1}}, r"Unknown key 'gate.mlp.hiden'.*Did you mean 'hidden'"),
        ({"lr": -1}, r"'lr' cannot be -1: input should be greater than 0"),
        ({"lr": "fast"}, r"'lr' cannot be 'fast'"),
        ({"lr": float("nan")}, r"'lr' cannot be nan"),
        ({"gate": {"kind": "cnn"}}, r"'gate' cannot be .*'mlp', 'linear'"),
        ({"lr": -1, "x": 1}, r"1 more problem"),
    ],
)
def test_one_sentence_with_the_value_and_what_is_accepted(tree, words):
    with pytest.raises(UsageError, match=words):
        validate(Study, tree)


def test_layers_remember_where_a_value_came_from():
    layers = (
        Layers(defaults(Study))
        .add({"lr": 1e-2, "gate": {"hidden": 4}}, "study.yaml")
        .override(["gate.hidden=8"])
    )
    assert [layers.origin(p) for p in ("lr", "gate.hidden", "sizes")] == [
        "study.yaml",
        "command line",
        "default",
    ]
    assert validate(Study, layers.tree).gate == Mlp(hidden=8)


def test_dump_and_difference():
    a, b = (dump(validate(Study, tree)) for tree in ({}, {"lr": 0.5}))
    assert difference(a, b) == {"lr": (1e-3, 0.5)}
    assert difference(a, a) == {}


@pytest.mark.parametrize("text", ["seed=0-4", "seed=0..4", "seed='7'", "layers=[1-3]"])
def test_text_is_not_taken_for_a_number(text):
    """`seed=0-4` once ran a single run, with seed -4."""

    class Seeded(Config):
        seed: int = Field(0, description="seed")
        layers: list[int] = Field([], description="layers")

    with pytest.raises(UsageError, match="text and not a number") as error:
        validate(Seeded, Layers().override([text]).tree)
    assert ("0..4" in str(error.value)) == ("4" in text)
    assert validate(Seeded, Layers().override(["seed=1e3"]).tree).seed == 1000
