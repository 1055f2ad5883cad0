"""A file or folder on this machine."""

import importlib
import sys
from pathlib import Path

from torch import nn

from digsite.base import settings
from digsite.base.errors import NotFound, UsageError, name_nearest, one_sentence
from digsite.config.resolve import current_object
from digsite.record.listing import find_run
from digsite.weights.bundle import WeightBundle, bundle_module
from digsite.weights.reader import open_weights
from digsite.weights.sources import Scheme


class File(Scheme):
    """A file or folder on this machine."""

    @staticmethod
    def read_target(target: str, member: str) -> WeightBundle:
        if member:
            raise UsageError(f"'file:{target}' is one model, it has no member '{member}'.")
        return open_weights(Path(target).expanduser())


# A user's own model: `py:module:factory`, where the factory takes nothing and gives an nn.Module.


class Py(Scheme):
    """A user's own model: `py:module:factory`, where the factory takes nothing and gives an nn.Module."""

    @staticmethod
    def read_target(target: str, member: str) -> WeightBundle:
        if member:
            raise UsageError(f"'py:{target}' is one model, it has no member '{member}'.")
        return bundle_module(make_module(target), {"format": "module"})


def make_module(target: str) -> nn.Module:
    """Call the factory.

    `target` is `module:name`; a module that was made already is taken as it is.
    """
    factory = find_object(target)
    with one_sentence(f"Making 'py:{target}'"):
        made = factory if isinstance(factory, nn.Module) or not callable(factory) else factory()
    if not isinstance(made, nn.Module):
        raise UsageError(f"'py:{target}' gives a {type(made).__name__}, not an nn.Module.")
    return made


def find_object(target: str) -> object:
    """What a module (also one in the working directory) has under this name.

    `target` is `module:name`, also a name that has moved since (the table of old names). The working directory
    is searched too, behind everything else, so a file there cannot take the place of an installed package.
    """
    module_name, colon, name = current_object(target).rpartition(":")
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


# What a run left: `run:ID#artifact`, with the artifact's name where there are several.


class Run(Scheme):
    """What a run left: `run:ID#artifact`, with the artifact's name where there are several."""

    @staticmethod
    def read_target(target: str, member: str) -> WeightBundle:
        return open_weights(locate_artifact(target, member))


def locate_artifact(target: str, member: str = "") -> Path:
    """The file of tensors of a run, `target` its id or the beginning of it; `member` says which where there are
    several, and `model` is meant where nothing is said.
    """
    run = find_run(target, settings.runs_dir())
    artifacts = {p.stem: p for p in sorted(run.artifacts.glob("*.safetensors"))}
    wanted = member or ("model" if "model" in artifacts else "")
    if wanted in artifacts:
        return artifacts[wanted]
    if not wanted and len(artifacts) == 1:
        return next(iter(artifacts.values()))
    if not artifacts:
        raise NotFound(f"The run '{run.id}' has no stored tensors.")
    problem = f"no tensors called '{wanted}'" if wanted else f"{len(artifacts)} sets of tensors"
    raise NotFound(
        f"The run '{run.id}' has {problem}.",
        hint=f"Write run:{target}#NAME. {name_nearest(wanted, artifacts)}",
    )
