"""Checkpoints in and out of the operating room: any reference in, a file that loads again out."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.graft.core.edits import Beside, widen_head
from digsite.graft.core.nets import Composite, find_head, is_plain, list_layers, read_matrices
from digsite.models import build, opening
from digsite.models.configs.dense import MlpConfig
from digsite.models.pretrained import save_model
from digsite.weights import WeightBundle, parse_reference, read_weights, write_weights

LEDGER = "digsite.graft"
NOT_CLASSIFIERS = {
    "causal": "a language model",
    "masked": "a language model",
    "encoder": "an encoder of text",
    "encoder-decoder": "an encoder-decoder",
    "sound": "a model of sounds",
}


def open_classifier(reference: str) -> nn.Module:
    """A model by reference; bare matrices that chain are read as a ReLU network."""
    if not parse_reference(reference).is_code:
        bundle = read_weights(reference)
        if _is_chain(bundle):
            return read_chain(bundle)
    opened = opening.open_model(reference)
    if opened.kind in NOT_CLASSIFIERS:
        raise UsageError(
            f"'{reference}' is {NOT_CLASSIFIERS[opened.kind]}, and a graft moves a class between classifiers.",
            hint="Give two networks whose last layer has one output for each class.",
        )
    module = opened.answering("be grafted").eval()
    return WRAPPERS[opened.kind](opened, module) if opened.kind in WRAPPERS else module


class ResizingImages(Composite):
    """A vision model of transformers as a classifier of images in [0, 1] of any size."""

    def __init__(self, opened: opening.Opened, inner: nn.Module) -> None:
        super().__init__()
        self.opened, self.inner = replace(opened, bundle=None, tokenizer=None), inner

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images of any size, resized to what the model eats."""
        return self.inner(opening.feed_images(self.opened, x)["pixel_values"])


WRAPPERS = {"images": ResizingImages}


def _is_chain(bundle: WeightBundle) -> bool:
    """Whether a file is nothing but matrices of which each reads what the one before writes."""
    says_what_it_is = any(key in bundle.meta for key in ("digsite.model", "model", "config"))
    shapes = [bundle.shape(n) for n in bundle.tensors if n.endswith("weight")]
    flat = all(len(s) == 2 for s in shapes)
    return not says_what_it_is and flat and bool(shapes) and all(a[0] == b[1] for a, b in pairwise(shapes))


def read_chain(bundle: WeightBundle) -> nn.Module:
    """Weights in the order of their names, each with the bias of the same name."""
    names = [n for n in bundle.tensors if n.endswith("weight")]
    weights = [bundle.tensors[n].float() for n in names]
    biases = [bundle.tensors.get(n.removesuffix("weight") + "bias") for n in names]
    return make_mlp(
        weights, [torch.zeros(len(w)) if b is None else b.float() for w, b in zip(weights, biases)]
    )


def make_mlp(weights: list[Tensor], biases: list[Tensor]) -> nn.Module:
    """A network of our own kind, which saves with its config."""
    sizes = [weights[0].shape[1], *(len(w) for w in weights)]
    model = build(MlpConfig.model_validate({"sizes": sizes}))
    for layer, w, b in zip(list_layers(model).values(), weights, biases):
        layer.weight.data = w.clone()
        layer.bias = nn.Parameter(b.clone())
    return model.requires_grad_(False).eval()


def flatten_to_mlp(model: nn.Module) -> nn.Module | None:
    """The same function as one plain ReLU network, where it has that form."""
    if is_plain(model):
        return make_mlp(*read_matrices(model))
    if isinstance(model, Beside) and model.layer is None and is_plain(model.base):
        return _absorb_reader(model, model.part) if isinstance(model.part, nn.Linear) else None
    return None


def _absorb_reader(model: Beside, read: nn.Linear) -> nn.Module:
    """A linear reader of all layers becomes rows of the head: what it reads is carried up by identities."""
    weights, biases = read_matrices(widen_head(model.base, model.name, model.classes))
    wide_w, wide_b, carried = [weights[0]], [biases[0]], 0
    for w, b in zip(weights[1:-1], biases[1:-1]):
        carried += w.shape[1]  # everything read so far passes on, and the layer itself reads its end
        keep = torch.eye(carried)
        new = torch.cat([torch.zeros(len(w), carried - w.shape[1]), w], dim=1)
        wide_w.append(torch.cat([keep, new]))
        wide_b.append(torch.cat([torch.zeros(carried), b]))
    top = torch.cat([torch.zeros(len(weights[-1]), carried), weights[-1]], dim=1)
    bias = biases[-1].clone()
    top[model.classes], bias[model.classes] = read.weight.data, read.bias.data
    return make_mlp([*wide_w, top], [*wide_b, bias])


def write_grafted(path: Path, model: nn.Module, ledger: dict[str, Any]) -> str:
    """Saves the grafted model with its ledger line in the metadata; says how it can be read again."""
    if path.suffix != ".safetensors":
        raise UsageError(f"'{path}' is no safetensors file.", hint="Give a name that ends in .safetensors.")
    meta = {LEDGER: json.dumps(ledger)}
    flat = flatten_to_mlp(model)
    if flat is not None:
        save_model(path, flat, meta)
        return "one plain network: load it as file:PATH"
    config = getattr(model, "config", None)
    if config is not None and find_head(model).out_features == getattr(config, "n_classes", None):
        save_model(path, model, meta)
        return "the receiver's own architecture: load it as file:PATH"
    write_weights(path, model, meta)
    return "weights of a composite: rebuild it with digsite.graft.graft and load_state_dict"
