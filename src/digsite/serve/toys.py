"""The toy models in NumPy: what a component that is switched off does to the output, without torch.

tms: ReLU(W2 H W1 x + b). resid_mlp: r = x W_E; r += mlp_out(act(mlp_in(r))) in each layer; y = r W_E^T.
Tested against the modules of the lab.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any, NamedTuple

import numpy as np

from digsite.base.errors import UsageError
from digsite.base.stored import read_json
from digsite.serve.tensor_files import open_tensor
from digsite.serve.views import View

Weights = Mapping[str, np.ndarray]


def _error_function(x: np.ndarray) -> np.ndarray:
    """Abramowitz and Stegun 7.1.26, within 1.5e-7: SciPy would cost the server 30 MB."""
    t = 1 / (1 + 0.3275911 * np.abs(x))
    series = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
    return np.sign(x) * (1 - sum(c * t ** (i + 1) for i, c in enumerate(series)) * np.exp(-x * x))


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: 0.5 * x * (1 + _error_function(x / sqrt(2))),
}


def can_run(kind: str, config: Mapping) -> bool:
    """Whether it is a toy, with a nonlinearity that is known here; some have none to choose."""
    return kind in TOYS and config.get("activation", "relu") in ACTIVATIONS


def fits_weights(kind: str, config: Mapping, weights: Weights) -> bool:
    """Whether the weights are there in the sizes that the config names: both come from a file that may lie."""
    if not can_run(kind, config):
        return False
    toy, features = TOYS[kind], config.get("n_features")
    wide, layers = weights.get(toy.widest), config.get(toy.layers, toy.fewest_layers)
    if wide is None or wide.ndim != 2 or not isinstance(features, int) or not isinstance(layers, int):
        return False
    known = sum(toy.per_layer.format(i) in weights for i in range(len(weights)))
    return 0 <= layers <= known and wide.shape[toy.features_axis] == features > 0


def run_forward(kind: str, config: Mapping, weights: Weights, x: np.ndarray) -> np.ndarray:
    """Outputs (n, features) for inputs (n, features)."""
    return TOYS[kind].run(config, weights, x)


def _run_tms(config: Mapping, w: Weights, x: np.ndarray) -> np.ndarray:
    hidden = x @ w["linear1.weight"].T
    for i in range(int(config.get("n_hidden_layers", 0))):
        hidden = hidden @ w[f"hidden_layers.{i}.weight"].T
    second = w.get("linear2.weight", w["linear1.weight"].T)
    return np.maximum(hidden @ second.T + w["linear2.bias"], 0)


def _resid_mlp(config: Mapping, w: Weights, x: np.ndarray) -> np.ndarray:
    activate = ACTIVATIONS[config.get("activation", "relu")]
    residual = x @ w["W_E"]
    for i in range(int(config["n_layers"])):
        inner = residual @ w[f"layers.{i}.mlp_in.weight"].T + w.get(f"layers.{i}.mlp_in.bias", 0.0)
        residual = (
            residual
            + activate(inner) @ w[f"layers.{i}.mlp_out.weight"].T
            + w.get(f"layers.{i}.mlp_out.bias", 0.0)
        )
    return residual @ w["W_E"].T


class Toy(NamedTuple):
    """How a toy is run, and where its config and its weights say how large it is."""

    run: Callable[[Mapping, Weights, np.ndarray], np.ndarray]
    widest: str  # the matrix that reads the features, along this axis:
    features_axis: int
    layers: str
    fewest_layers: int | None  # where the config does not say; None: it must
    per_layer: str


TOYS = {
    "tms": Toy(_run_tms, "linear1.weight", 1, "n_hidden_layers", 0, "hidden_layers.{}.weight"),
    "resid_mlp": Toy(_resid_mlp, "W_E", 0, "n_layers", None, "layers.{}.mlp_in.weight"),
}


# What a language model answers to stored prompts without one component; the run computed it, nothing is run here.


@dataclass(frozen=True)
class Effects:
    """Row i of kl and first belongs to component numbers[i], switched off alone, and of those of sets to sets[i] together."""

    prompts: np.ndarray  # (prompts, tokens)
    answers: np.ndarray  # (prompts, answers): one per token, or one per prompt
    numbers: np.ndarray
    kl: np.ndarray  # (components, prompts, answers), nats
    first: np.ndarray  # the token that comes first without the component
    words: dict[str, str]
    sets: np.ndarray  # (sets, k), -1 where a set has fewer
    kl_of_sets: np.ndarray
    first_of_sets: np.ndarray

    def summaries(self) -> dict[int, dict[str, Any]]:
        """By component: mean divergence, and how many answers change."""
        changed = (self.first != self.answers).sum(axis=(1, 2))
        means = self.kl.mean(axis=(1, 2))
        return {int(c): {"kl": kl, "changed": n} for c, kl, n in zip(self.numbers, means, changed)}

    def without(self, off: list[int]) -> dict[str, Any]:
        """The prompts as words, and at each answer how far it moved and what it became; `known` is False where the run did
        not try this set.
        """
        kl, first, known = np.zeros(self.answers.shape), self.answers, not off
        wanted = set(off)
        rows = [({int(c)}, self.kl[i], self.first[i]) for i, c in enumerate(self.numbers)]
        rows += [
            ({int(c) for c in row if c >= 0}, self.kl_of_sets[i], self.first_of_sets[i])
            for i, row in enumerate(self.sets)
        ]
        for numbers, its_kl, its_first in rows:
            if numbers == wanted:
                kl, first, known = its_kl, its_first, True
        return {
            "prompts": self._said(self.prompts),
            "answers": self._said(self.answers),
            "first": self._said(first),
            "kl": kl,
            "most": max(self.kl.max(initial=0.0), self.kl_of_sets.max(initial=0.0)),
            "off": sorted(wanted),
            "known": known,
            "together": list(
                dict.fromkeys(int(c) for c in self.sets[::-1].ravel() if c >= 0)
            ),  # largest set first
        }

    def _said(self, tokens: np.ndarray) -> list[list[str]]:
        return [[self.words.get(str(int(token)), str(int(token))) for token in row] for row in tokens]


def effects_of(view: View) -> Effects | None:
    """What the view declares; older runs declare nothing of this."""
    if not {"kl", "first", "prompts", "answers", "numbers", "words"} <= view.options.keys():
        return None
    read = {
        name: open_tensor(*view.sibling(str(view.options[name]))).read()
        for name in ("prompts", "answers", "numbers", "kl", "first")
    }
    none = {"sets": np.zeros((0, 0), int), "kl_of_sets": read["kl"][:0], "first_of_sets": read["first"][:0]}
    read |= {
        name: open_tensor(*view.sibling(str(view.options[name]))).read() if name in view.options else empty
        for name, empty in none.items()
    }
    shape = (len(read["numbers"]), *read["answers"].shape)
    together = (len(read["sets"]), *read["answers"].shape)
    if (
        read["kl"].shape != shape
        or read["first"].shape != shape
        or read["kl_of_sets"].shape != together
        or read["first_of_sets"].shape != together
        or len(read["prompts"]) != len(read["answers"])
    ):
        raise UsageError(f"The effects of '{view.name}' do not fit its prompts.")
    path, _ = view.sibling(str(view.options["words"]))
    words = read_json(path, kind=dict)
    if not isinstance(words, dict):
        raise UsageError(f"'{path.name}' holds no words.")
    return Effects(**read, words={str(k): str(v) for k, v in words.items()})
