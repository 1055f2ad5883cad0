"""A user's own model: `py:module:factory`, where the factory takes nothing and gives an nn.Module."""

import importlib
import sys
from pathlib import Path

from torch import nn

from digsite.base.errors import NotFound, UsageError, name_nearest, one_sentence
from digsite.weights.bundle import WeightBundle, of_module


def read(target: str, member: str) -> WeightBundle:
    if member:
        raise UsageError(f"'py:{target}' is one model, it has no member '{member}'.")
    return of_module(make(target), {"format": "module"})


def make(target: str) -> nn.Module:
    """Call the factory."""
    factory = find(target)
    with one_sentence(f"Making 'py:{target}'"):
        made = factory if isinstance(factory, nn.Module) or not callable(factory) else factory()
    if not isinstance(made, nn.Module):
        raise UsageError(f"'py:{target}' gives a {type(made).__name__}, not an nn.Module.")
    return made


def find(target: str) -> object:
    """What a module (also one in the working directory) has under this name."""
    module_name, colon, name = target.rpartition(":")
    if not colon:
        raise UsageError(f"'py:{target}' names nothing in a module.", hint="Write py:module:name.")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    try:
        with one_sentence(f"Importing '{module_name}', asked for by 'py:{target}',"):
            module = importlib.import_module(module_name)
    except UsageError as error:
        if isinstance(error.__cause__, ModuleNotFoundError):
            raise NotFound(
                f"There is no module '{error.__cause__.name}', asked for by 'py:{target}'."
            ) from None
        raise
    if not hasattr(module, name):
        public = [word for word in vars(module) if not word.startswith("_")]
        raise NotFound(f"The module '{module_name}' has no '{name}'.", hint=name_nearest(name, public))
    return getattr(module, name)
