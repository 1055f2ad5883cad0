"""A file or folder on this machine."""

from pathlib import Path

from digsite.base.errors import UsageError
from digsite.weights.bundle import WeightBundle
from digsite.weights.reader import open_weights


def read(target: str, member: str) -> WeightBundle:
    if member:
        raise UsageError(f"'file:{target}' is one model, it has no member '{member}'.")
    return open_weights(Path(target).expanduser())
