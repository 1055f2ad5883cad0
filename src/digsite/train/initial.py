"""The initial weights of a member, from its own stream."""

import torch
from torch import nn

from digsite.base.errors import UsageError
from digsite.base.streams import derive_seed
from digsite.models.initial import init
from digsite.train.member import Member, Model


def initial(model: Model, scratch: nn.Module, member: Member) -> nn.Module:
    """A module with the member's first weights; a function that builds the model is called under its seed."""
    seed = derive_seed(member.seed, "init")
    if isinstance(model, nn.Module):
        _check_covered(scratch)
    else:
        scratch = build_seeded(model, seed)
    if isinstance(model, nn.Module) or member.init != "default" or member.init_scale != 1:
        init(scratch, seed, member.init, member.init_scale)
    return scratch


def build_seeded(factory: Model, seed: int) -> nn.Module:
    """Call a user's factory with PyTorch's global generator seeded, and leave that generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return factory()


def _check_covered(model: nn.Module) -> None:
    """A parameter that no reset_parameters() redraws would be the same in every member."""
    covered = {
        id(parameter)
        for module in model.modules()
        if callable(getattr(module, "reset_parameters", None))
        for parameter in module.parameters()
    }
    for name, parameter in model.named_parameters():
        if id(parameter) not in covered:
            raise UsageError(
                f"the parameter '{name}' has no seeded initial value: its module has no reset_parameters()",
                hint="Pass a function that builds the model instead of a built model.",
            )
