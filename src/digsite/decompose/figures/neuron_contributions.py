"""How much each neuron adds to a feature's answer: in the target, and in that feature's component."""

import numpy as np
import torch
from matplotlib.figure import Figure

from digsite.base.errors import UsageError
from digsite.decompose.core.decomposition import Decomposition
from digsite.decompose.judge.views import View
from digsite.figures import scatter

CAPTION = "Each point is a neuron and a feature; points near the diagonal keep the target's weights."


def draw(view: View) -> Figure:
    groups = {}
    for module in view.found.modules:
        if module.endswith("mlp_in"):
            groups[module] = contributions(view.found, module, view)
    if not groups:
        raise UsageError(
            "The figure 'neuron_contributions' is for residual MLPs: there is no module 'mlp_in'."
        )
    return scatter(
        groups, x="neuron's contribution in the target", y="in the feature's component", diagonal=True
    )


def contributions(found: Decomposition, module: str, view: View) -> tuple[np.ndarray, np.ndarray]:
    """(W_E W_in)[j, n] (W_out W_U)[n, j] for feature j and neuron n, and the same through the component of j."""
    embedding: torch.Tensor = found.model.W_E  # type: ignore[assignment]
    parts, out = found.components(module), found.components(module.replace("mlp_in", "mlp_out"))
    back = (out.weight @ embedding.T).T  # (features, neurons)
    owner = view.order[module][: view.n_features]
    reads = (embedding @ parts.V)[range(view.n_features), owner]
    single = reads[:, None] * parts.U[owner]
    target = (embedding @ parts.weight) * back
    return target.flatten().cpu().numpy(), (single * back).flatten().detach().cpu().numpy()
