"""The toy models in NumPy: what a component that is switched off does to the output, without torch.

tms: ReLU(W2 H W1 x + b). resid_mlp: r = x W_E; r += mlp_out(act(mlp_in(r))) in each layer; y = r W_E^T.
Tested against the modules of the lab.
"""

from collections.abc import Callable, Mapping
from math import sqrt

import numpy as np

Weights = Mapping[str, np.ndarray]


def _erf(x: np.ndarray) -> np.ndarray:
    """Abramowitz and Stegun 7.1.26, within 1.5e-7: SciPy would cost the server 30 MB."""
    t = 1 / (1 + 0.3275911 * np.abs(x))
    series = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
    return np.sign(x) * (1 - sum(c * t ** (i + 1) for i, c in enumerate(series)) * np.exp(-x * x))


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: 0.5 * x * (1 + _erf(x / sqrt(2))),
}


def runs(kind: str, config: Mapping) -> bool:
    return kind == "tms" or (kind == "resid_mlp" and config.get("activation", "relu") in ACTIVATIONS)


def fits(kind: str, config: Mapping, weights: Weights) -> bool:
    """Whether the weights are there in the sizes that the config names: both come from a file that may lie."""
    features, wide = config.get("n_features"), weights.get("linear1.weight" if kind == "tms" else "W_E")
    layers = config.get("n_hidden_layers", 0) if kind == "tms" else config.get("n_layers")
    if not runs(kind, config) or wide is None or wide.ndim != 2 or not isinstance(features, int):
        return False
    per_layer = "hidden_layers.{}.weight" if kind == "tms" else "layers.{}.mlp_in.weight"
    known = sum(per_layer.format(i) in weights for i in range(len(weights)))
    axis = 1 if kind == "tms" else 0
    return isinstance(layers, int) and 0 <= layers <= known and wide.shape[axis] == features > 0


def forward(kind: str, config: Mapping, weights: Weights, x: np.ndarray) -> np.ndarray:
    """Outputs (n, features) for inputs (n, features)."""
    return (_tms if kind == "tms" else _resid_mlp)(config, weights, x)


def _tms(config: Mapping, w: Weights, x: np.ndarray) -> np.ndarray:
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
