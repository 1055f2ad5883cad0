"""How well a perfect reader would score against labels that were themselves measured on few images."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau

from digsite.base.contract import Numbers, public_method
from digsite.base.errors import UsageError
from digsite.base.streams import derive_seed


@dataclass(frozen=True)
class Ceiling:
    """Best expected R2 and Kendall tau."""

    r2: float
    tau: float


@public_method(accuracy=Numbers(1, rows=2))
def noise_ceiling(accuracy: np.ndarray, n_test: int, seed: int = 0, draws: int = 20) -> Ceiling:
    """Measured accuracies of n_test images: R2 in closed form, tau by measuring again with binomial noise."""
    if n_test < 1 or draws < 1 or accuracy.min() < 0 or accuracy.max() > 1:
        raise UsageError(
            "Accuracies are shares from 0 to 1 of at least one test image, measured again at least once."
        )
    if float(accuracy.max()) == float(accuracy.min()):
        raise UsageError(
            "All networks have the same accuracy: nothing can be ranked, so there is no ceiling."
        )
    noise = accuracy * (1 - accuracy) / n_test
    spread = accuracy.var()
    rng = np.random.default_rng(derive_seed(seed, "noise-ceiling"))
    taus = [float(kendalltau(accuracy, rng.binomial(n_test, accuracy))[0]) for _ in range(draws)]  # type: ignore[arg-type]
    return Ceiling(float(1 - noise.mean() / spread) if spread > 0 else 0.0, float(np.mean(taus)))
