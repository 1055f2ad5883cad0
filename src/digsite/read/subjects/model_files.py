"""All models of a folder as networks, and every entry that was left out with the reason."""

from dataclasses import dataclass
from pathlib import Path

from digsite.base.errors import DigsiteError, NotFound, UsageError
from digsite.read.subjects.network import Network, network_of
from digsite.weights import read_weights

# Beside models lie notes, configs and pictures: they are no failures and are not listed.
_SILENT = {
    ".json",
    ".md",
    ".txt",
    ".csv",
    ".png",
    ".svg",
    ".yaml",
    ".yml",
    ".html",
    ".py",
    ".pdf",
    ".jinja",
    "",
}


@dataclass(frozen=True)
class ModelFolder:
    """`left_out` has (entry, reason) for everything that looked like a model and could not be read."""

    networks: list[Network]
    left_out: list[tuple[str, str]]


def read_networks(folder: Path, least: int = 2) -> ModelFolder:
    """Files, and folders that hold one model each, in the order of their names; fewer than `least` are refused."""
    if not folder.is_dir():
        raise NotFound(f"There is no folder '{folder}'.")
    found = ModelFolder([], [])
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or (path.is_file() and path.suffix.lower() in _SILENT):
            continue
        try:
            bundle = read_weights(f"file:{path}")
            name = path.stem if path.is_file() else path.name
            found.networks.append(network_of(name, bundle.tensors, bundle.meta.get("config")))
        except DigsiteError as error:
            if path.is_file() or any(path.glob("*.safetensors")) or any(path.glob("*.bin")):
                found.left_out.append((path.name, str(error)))
    if len(found.networks) < least:
        reasons = f" ({found.left_out[0][0]}: {found.left_out[0][1]})" if found.left_out else ""
        count = len(found.networks)
        raise UsageError(
            f"'{folder}' holds {count or 'no'} model{'' if count == 1 else 's'}{reasons}; {'a lineage needs at least two' if least > 1 else 'at least one is needed'}.",
            hint="Put the models to compare into one folder: files, or one folder for each.",
        )
    return found
