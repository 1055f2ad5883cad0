"""What Fisher merging and RegMean ask of a parent: how sharp its loss is in each weight, and what its maps read."""

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional as F


def measure_fisher(
    model: nn.Module, rows: Int[Tensor, "n length"], draw: torch.Generator
) -> dict[str, Tensor]:
    """Diagonal Fisher information per token: mean squared gradient of the log-likelihood of the model's own answers.

    Answers are drawn from the model, as the definition has it; with the text's own words one would get the empirical
    Fisher, which is another thing where the model is not right. One row at a time, so gradients do not cancel.
    """
    names = [name for name, _ in model.named_parameters()]
    parameters = list(model.parameters())
    total = [torch.zeros_like(p) for p in parameters]
    for row in rows.split(1):
        said = model(row)[:, :-1].flatten(0, 1)
        drawn = torch.multinomial(said.detach().softmax(-1), 1, generator=draw).flatten()
        loss = F.cross_entropy(said, drawn, reduction="sum")
        for into, gradient in zip(total, torch.autograd.grad(loss, parameters), strict=True):
            into += gradient.square()
    return {name: t / rows[:, 1:].numel() for name, t in zip(names, total, strict=True)}


@torch.no_grad()
def measure_grams(model: nn.Module, rows: Int[Tensor, "n length"]) -> dict[str, Tensor]:
    """X^T X per token of what every linear map reads, by the name of its weight."""
    grams: dict[str, Tensor] = {}
    handles = []

    def reader(name: str):
        def take(_module: nn.Module, args: tuple) -> None:
            x = args[0].flatten(0, -2).float()
            grams[name] = grams.get(name, 0) + x.T @ x / len(x)

        return take

    for name, module in model.named_modules():
        if type(module) is nn.Linear:
            handles.append(module.register_forward_pre_hook(reader(f"{name}.weight")))
    try:
        model(rows)
    finally:
        for handle in handles:
            handle.remove()
    return grams
