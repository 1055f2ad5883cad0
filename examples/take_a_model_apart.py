# %% [markdown]
# # Take a model apart, and switch a part off
# Works on any `nn.Module`; here a toy model that stores five features in two dimensions.

# %%
import torch

from digsite.decompose import Decomposition, decompose
from digsite.models import build, parse

torch.manual_seed(0)
model = build(parse({"kind": "tms", "n_features": 5, "n_hidden": 2, "tied": False})).eval()


def batches(generator: torch.Generator) -> torch.Tensor:
    values = torch.rand(256, 5, generator=generator)
    return values * (torch.rand(256, 5, generator=generator) < 0.2)


found: Decomposition = decompose(model, ["linear1", "linear2"], data=batches, C=10, steps=60, compile="never")
found

# %%
x = torch.eye(5)
print("importance of each component for each feature:")
print(found.importance(x)["linear1"].round(decimals=2))
strongest = int(found.components("linear1").norms.argmax())
edited = found.ablate({"linear1": [strongest]})
print(
    f"without component {strongest} outputs move by {float((edited(x) - model(x)).detach().abs().max()):.3f}"
)
