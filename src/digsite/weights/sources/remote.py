"""A model on the Hugging Face hub: `hub:org/name`, `hub:org/name@revision`."""

import sys
from pathlib import Path

from digsite.base import errors, settings
from digsite.base.errors import DigsiteError, NotFound, Unreachable, UsageError
from digsite.base.settings import cache_dir
from digsite.weights.bundle import WeightBundle
from digsite.weights.reader import open_weights
from digsite.weights.sources import Scheme

PATTERNS = ["*.json", "*.safetensors", "*.model", "*.txt"]
PICKLES = ["*.json", "pytorch_model*.bin", "*.model", "*.txt"]


class Hub(Scheme):
    """A model on the Hugging Face hub: `hub:org/name`, `hub:org/name@revision`."""

    @staticmethod
    def read_target(target: str, member: str) -> WeightBundle:
        if member:
            raise UsageError(f"'hub:{target}' is one model, it has no member '{member}'.")
        return open_weights(fetch_snapshot(target))


def fetch_snapshot(target: str) -> Path:
    """The local snapshot, fetched if need be; the older `.bin` files only where there is nothing better.

    `target` is `org/name` or `org/name@revision`. Only weights, configs and tokenizers are asked for: a
    repository's code is not even downloaded.
    """
    hub = errors.require_package("huggingface_hub", extra="hub")
    name, _, revision = target.partition("@")
    options = {"revision": revision or None, "local_files_only": settings.is_offline()}
    try:
        path = Path(hub.snapshot_download(name, allow_patterns=PATTERNS, **options))
        if not list(path.glob("*.safetensors")):
            path = Path(hub.snapshot_download(name, allow_patterns=PICKLES, **options))
    except (
        hub.errors.RepositoryNotFoundError,
        hub.errors.RevisionNotFoundError,
        hub.errors.HFValidationError,
    ):
        raise NotFound(f"The hub has no model '{target}' that this machine may read.") from None
    except (hub.errors.LocalEntryNotFoundError, *transport_errors()) as error:
        kind, state = Unreachable, "the hub does not answer"
        if settings.is_offline():
            kind, state = NotFound, "DIGSITE_OFFLINE is set"
        elif (answer := getattr(error, "response", None)) is not None:
            state = f"the hub answers with an error ({answer.status_code})"
        raise kind(
            f"The model '{target}' is not in the local cache and {state}.",
            hint="Name a local folder with file:, or train one on the generated stories.",
        ) from None
    except OSError as error:
        raise DigsiteError(f"The model '{target}' could not be fetched from the hub ({error}).") from None
    return path


def transport_errors() -> tuple[type[Exception], ...]:
    """What the hub's library lets through where a connection breaks: of whichever HTTP package it has loaded."""
    return tuple(sys.modules[name].HTTPError for name in ("httpx", "httpx2") if name in sys.modules)


# Files of a Weights & Biases run: `wandb:entity/project/runs/id#file`, or an artifact `entity/project/name:v0`.

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")


class Wandb(Scheme):
    """Files of a Weights & Biases run: `wandb:entity/project/runs/id#file`, or an artifact `entity/project/name:v0`."""

    @staticmethod
    def read_target(target: str, member: str) -> WeightBundle:
        return open_weights(fetch_file(target, member))


def fetch_file(target: str, member: str = "") -> Path:
    """The local copy of a run's weight file, or the folder of an artifact.

    `target` is a run or an artifact as in the web address, `member` the file where a run has several.
    """
    parts = target.split("/")
    if not (len(parts) == 4 and parts[2] == "runs") and not (len(parts) == 3 and ":" in parts[2]):
        raise UsageError(
            f"'wandb:{target}' names neither a run nor an artifact.",
            hint="Write wandb:entity/project/runs/id or wandb:entity/project/name:version.",
        )
    folder = cache_dir() / "wandb" / target.replace(":", "-")
    if settings.is_offline():
        return _find_cached(folder, target, member)
    wandb = errors.require_package("wandb", extra="wandb")
    try:
        api = wandb.Api()
        if len(parts) == 3:
            return Path(api.artifact(target).download(root=str(folder)))
        run = api.run("/".join((parts[0], parts[1], parts[3])))
        name = _pick_file([file.name for file in run.files()], target, member)
        run.file(name).download(root=str(folder), exist_ok=True)
    except (wandb.errors.CommError, wandb.errors.UsageError, ValueError) as error:
        raise DigsiteError(f"'wandb:{target}' could not be fetched ({error}).") from None
    return folder / name


def _find_cached(folder: Path, target: str, member: str) -> Path:
    """What an earlier call left, for a machine without network."""
    files = [str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()] if folder.is_dir() else []
    if not files:
        raise NotFound(f"'wandb:{target}' is not in the local cache and DIGSITE_OFFLINE is set.")
    return folder / _pick_file(files, target, member)


def _pick_file(files: list[str], target: str, member: str) -> str:
    """The one file of weights among `files`, or the one that was named; several without a name are a question
    to the user.
    """
    weights = sorted(name for name in files if name.endswith(SUFFIXES) and (not member or name == member))
    if len(weights) == 1:
        return weights[0]
    what = f"{len(weights)} weight files" if weights else f"no weight file{f' {member!r}' if member else ''}"
    raise NotFound(f"'wandb:{target}' has {what}.", hint=f"Write wandb:{target}#FILE.")
