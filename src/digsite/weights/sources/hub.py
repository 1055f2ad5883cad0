"""A model on the Hugging Face hub: `hub:org/name`, `hub:org/name@revision`."""

from pathlib import Path

from digsite.base import errors, settings
from digsite.base.errors import DigsiteError, NotFound, UsageError
from digsite.weights.bundle import WeightBundle
from digsite.weights.reader import open_weights

PATTERNS = ["*.json", "*.safetensors", "*.model", "*.txt"]
PICKLES = ["*.json", "pytorch_model*.bin", "*.model", "*.txt"]


def read(target: str, member: str) -> WeightBundle:
    if member:
        raise UsageError(f"'hub:{target}' is one model, it has no member '{member}'.")
    return open_weights(folder(target))


def folder(target: str) -> Path:
    """The local snapshot, fetched if need be; the older `.bin` files only where there is nothing better."""
    hub = errors.require_package("huggingface_hub", extra="hub")
    name, _, revision = target.partition("@")
    options = {"revision": revision or None, "local_files_only": settings.is_offline()}
    try:
        path = Path(hub.snapshot_download(name, allow_patterns=PATTERNS, **options))
        if not list(path.glob("*.safetensors")):
            path = Path(hub.snapshot_download(name, allow_patterns=PICKLES, **options))
    except hub.errors.LocalEntryNotFoundError:
        state = "DIGSITE_OFFLINE is set" if settings.is_offline() else "the hub does not answer"
        raise NotFound(
            f"The model '{target}' is not in the local cache and {state}.",
            hint="Name a local folder with file:, or train one on the generated stories.",
        ) from None
    except (
        hub.errors.RepositoryNotFoundError,
        hub.errors.RevisionNotFoundError,
        hub.errors.HFValidationError,
    ):
        raise NotFound(f"The hub has no model '{target}' that this machine may read.") from None
    except OSError as error:
        raise DigsiteError(f"The model '{target}' could not be fetched from the hub ({error}).") from None
    return path
