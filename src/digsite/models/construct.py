"""From a config to a module.

Two things are kept apart here on purpose: what a network is (`empty`, whose weights are about to be overwritten
by a checkpoint) and what it starts from (`init`). Every draw comes from a generator that is handed over or made
from a seed: torch's global generator stays where it was, so building a model changes nobody's random numbers.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from digsite.base import families
from digsite.base.contract import public_method
from digsite.base.errors import NotFound, UsageError, name_nearest
from digsite.config import Config
from digsite.models.config import parse


@public_method()
def build(config: Config, seed: int = 0) -> nn.Module:
    """A module with its default initial weights; PyTorch's global generator is left as it was.

    `config` is one of the configs in `digsite.models.configs`, `seed` that of the initial weights: the same
    seed gives the same bytes on every device, because all draws are made on the CPU.
    """
    model = empty(config)
    init(model, seed)
    return model


@public_method()
def empty(config: Config) -> nn.Module:
    """A module whose weights are about to be overwritten.

    `config` is one of the configs in `digsite.models.configs`. The module remembers it as `config`.
    """
    kind = getattr(config, "kind", None)
    assert isinstance(kind, str), f"{type(config).__name__} is no model config"
    with torch.random.fork_rng(devices=[]):
        model = families.scan_member("digsite.models.architectures", kind)(config)
    model.config = config  # so that a saved model says how to build it again
    return model


# Seeded initial weights: each module's own scheme, or a named one on every weight matrix.

Draw = Callable[[Tensor, torch.Generator], object]

_RELATIVE: dict[str, Draw] = {
    "he_normal": lambda w, g: nn.init.kaiming_normal_(w, nonlinearity="relu", generator=g),
    "he_uniform": lambda w, g: nn.init.kaiming_uniform_(w, nonlinearity="relu", generator=g),
    "glorot_normal": lambda w, g: nn.init.xavier_normal_(w, generator=g),
    "glorot_uniform": lambda w, g: nn.init.xavier_uniform_(w, generator=g),
    "orthogonal": lambda w, g: nn.init.orthogonal_(w, generator=g),
}
_ALIASES = {"he": "he_normal", "glorot": "glorot_uniform", "truncated": "truncated_normal"}
SCHEMES = ("default", *_RELATIVE, "normal", "truncated_normal")


@public_method()
def init(
    model: nn.Module, seed: int | torch.Generator = 0, scheme: str = "default", scale: float = 1.0
) -> nn.Module:
    """Overwrite all weights in place and return the model.

    `scale` is the standard deviation for `normal` and `truncated_normal` (cut at two of them), for the others
    a factor on the weight matrices. A named scheme sets biases to zero and leaves norms at one.

    `seed` is a number, or a generator that the caller goes on with.
    """
    scheme = _ALIASES.get(scheme, scheme)
    if scheme not in SCHEMES:
        raise UsageError(f"There is no initialization scheme '{scheme}'.", hint=name_nearest(scheme, SCHEMES))
    generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    _reset_modules(model, generator)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                _draw_weight(parameter, scheme, scale, generator)
        if scheme != "default":
            _zero_biases(model)
    return model


def _reset_modules(model: nn.Module, generator: torch.Generator) -> None:
    """Every `reset_parameters`, inner modules first, on a forked global generator: torch's take no other."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        for module in _children_first(model):
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()


def _children_first(module: nn.Module) -> list[nn.Module]:
    """Inner modules come first, so that a model's own scheme (GPT-2's, the toys') has the last word over its
    layers'.
    """
    return [m for child in module.children() for m in _children_first(child)] + [module]


def _draw_weight(weight: Tensor, scheme: str, scale: float, generator: torch.Generator) -> None:
    """`weight` (out, in, ...) is overwritten; with the default scheme only `scale` acts on what was drawn
    before.
    """
    drawn = torch.empty(weight.shape)  # on the CPU, so that every device starts from the same numbers
    if scheme == "normal":
        weight.copy_(drawn.normal_(std=scale, generator=generator))
    elif scheme == "truncated_normal":
        nn.init.trunc_normal_(drawn, std=scale, a=-2 * scale, b=2 * scale, generator=generator)
        weight.copy_(drawn)
    elif scheme in _RELATIVE:
        _RELATIVE[scheme](drawn, generator)
        weight.copy_(drawn * scale)
    elif scale != 1:
        weight.mul_(scale)


def _zero_biases(model: nn.Module) -> None:
    """Every parameter whose own name begins with `bias`, in place."""
    for name, parameter in model.named_parameters():
        if name.rpartition(".")[2].startswith("bias"):
            parameter.zero_()


# The networks that published experiments gave names to, as data: a shape fits itself to an input and a task.

Image = tuple[int, int, int]

_FRAMEWORK_CNN = {"kind": "cnn", "padding": 0, "pool": "last", "conv_dropout": 0.25, "dropout": 0.5}
_TRACK_TRANSFORMER = {"kind": "transformer", "d_model": 128, "n_heads": 4, "d_mlp": 512, "n_layers": 4}

# `hidden` of an MLP lists the hidden widths; input and output come from the task.
SHAPES: dict[str, dict[str, Any]] = {
    # grafting: MLPs of 784 inputs, and five CNNs without padding
    "SimpleNN": {"kind": "mlp", "hidden": [64, 32]},
    "MegaNN": {"kind": "mlp", "hidden": [512, 256, 128, 64], "dropout": 0.2, "dropout_layers": 3},
    "WideNN": {"kind": "mlp", "hidden": [512, 128]},
    "DeepNN": {"kind": "mlp", "hidden": [256, 256, 128]},
    "SuperWideNN": {"kind": "mlp", "hidden": [2048]},
    "VeryDeepNN": {"kind": "mlp", "hidden": [64] * 6},
    "BaseCNN": {**_FRAMEWORK_CNN, "channels": [32, 64], "hidden": [128]},
    "WideCNN": {**_FRAMEWORK_CNN, "channels": [64, 128], "hidden": [256]},
    "DeepCNN": {**_FRAMEWORK_CNN, "channels": [32, 64, 64], "hidden": [128, 64]},
    "BottleneckCNN": {**_FRAMEWORK_CNN, "channels": [32, 64], "hidden": [64]},
    "PyramidCNN": {**_FRAMEWORK_CNN, "channels": [32, 64], "hidden": [256, 128]},
    # tracking: eight MLPs, three CNNs, four post-norm transformers
    "mlp_shallow_2": {"kind": "mlp", "hidden": [128, 64]},
    "mlp_medium_5": {"kind": "mlp", "hidden": [64, 64, 64, 64, 32]},
    "mlp_deep_10": {"kind": "mlp", "hidden": [32] * 10},
    "mlp_verydeep_15": {"kind": "mlp", "hidden": [24] * 15},
    "mlp_narrow": {"kind": "mlp", "hidden": [32] * 4},
    "mlp_medium": {"kind": "mlp", "hidden": [128, 128, 64, 64]},
    "mlp_wide": {"kind": "mlp", "hidden": [256, 256, 128, 128]},
    "mlp_verywide": {"kind": "mlp", "hidden": [512, 512, 256, 256]},
    "cnn_shallow": {"kind": "cnn", "channels": [32, 64]},
    "cnn_medium": {"kind": "cnn", "channels": [32, 64, 128]},
    "cnn_deep": {"kind": "cnn", "channels": [32, 64, 128, 256]},
    "transformer_shallow": {**_TRACK_TRANSFORMER, "n_layers": 2},
    "transformer_medium": _TRACK_TRANSFORMER,
    "transformer_deep": {**_TRACK_TRANSFORMER, "n_layers": 6},
    "transformer_narrow": {**_TRACK_TRANSFORMER, "d_model": 64, "d_mlp": 256},
}


@public_method()
def shape(
    name: str, image: Image = (1, 28, 28), n_classes: int = 10, *, vocab: int = 0, length: int = 0
) -> Config:
    """The config of a named network for images, or for texts of `length` tokens out of `vocab`.

    `name` is a key of SHAPES, `image` (channels, height, width), `n_classes` the outputs; `vocab` and `length`
    make it a classifier of texts instead, which MLPs and transformers can be and convolutions cannot.
    """
    if name not in SHAPES:
        raise NotFound(f"There is no network named '{name}'.", hint=name_nearest(name, SHAPES))
    given = dict(SHAPES[name])
    if given["kind"] == "mlp":
        return parse(_fit_mlp(given, image, n_classes, vocab, length))
    if given["kind"] == "transformer" and vocab:
        return parse({**given, "vocab": vocab, "length": length, "n_classes": n_classes})
    if given["kind"] == "transformer":
        return parse({**given, "image": image, "patch": _choose_patch_side(image), "n_classes": n_classes})
    return parse({**given, "image": image, "n_classes": n_classes})


def _fit_mlp(given: dict[str, Any], image: Image, n_classes: int, vocab: int, length: int) -> dict[str, Any]:
    """Input and output widths from the task: flattened pixels, or embedded tokens side by side."""
    hidden = given.pop("hidden")
    if vocab:
        return {
            **given,
            "kind": "token_mlp",
            "vocab": vocab,
            "length": length,
            "hidden": hidden,
            "n_classes": n_classes,
        }
    channels, height, width = image
    return {**given, "sizes": [channels * height * width, *hidden, n_classes]}


def _choose_patch_side(image: Image) -> int:
    """A quarter of the side, as 7 of 28: sixteen patches."""
    return max(min(image[1:]) // 4, 1)
