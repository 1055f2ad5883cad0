"""The networks that published experiments gave names to, as data: a shape fits itself to an input and a task.

A file of its own because it must be readable without PyTorch: the command line lists these names before it is loaded.
"""

from typing import Any

from digsite.base.contract import public_method
from digsite.base.errors import NotFound, name_nearest
from digsite.config import Config
from digsite.models.config import parse

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
