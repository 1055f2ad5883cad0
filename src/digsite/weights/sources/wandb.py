"""Files of a Weights & Biases run: `wandb:entity/project/runs/id#file`, or an artifact `entity/project/name:v0`."""

from pathlib import Path

from digsite.base import errors, settings
from digsite.base.errors import DigsiteError, NotFound, UsageError
from digsite.config.folders import cache_dir
from digsite.weights.bundle import WeightBundle
from digsite.weights.reader import open_weights

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")


def read(target: str, member: str) -> WeightBundle:
    return open_weights(fetch(target, member))


def fetch(target: str, member: str = "") -> Path:
    """The local copy of a run's weight file, or the folder of an artifact."""
    parts = target.split("/")
    if not (len(parts) == 4 and parts[2] == "runs") and not (len(parts) == 3 and ":" in parts[2]):
        raise UsageError(
            f"'wandb:{target}' names neither a run nor an artifact.",
            hint="Write wandb:entity/project/runs/id or wandb:entity/project/name:version.",
        )
    folder = cache_dir() / "wandb" / target.replace(":", "-")
    if settings.is_offline():
        return _stored(folder, target, member)
    wandb = errors.require_package("wandb", extra="wandb")
    try:
        api = wandb.Api()
        if len(parts) == 3:
            return Path(api.artifact(target).download(root=str(folder)))
        run = api.run("/".join((parts[0], parts[1], parts[3])))
        name = _pick([file.name for file in run.files()], target, member)
        run.file(name).download(root=str(folder), exist_ok=True)
    except (wandb.errors.CommError, wandb.errors.UsageError, ValueError) as error:
        raise DigsiteError(f"'wandb:{target}' could not be fetched ({error}).") from None
    return folder / name


def _stored(folder: Path, target: str, member: str) -> Path:
    files = [str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()] if folder.is_dir() else []
    if not files:
        raise NotFound(f"'wandb:{target}' is not in the local cache and DIGSITE_OFFLINE is set.")
    return folder / _pick(files, target, member)


def _pick(files: list[str], target: str, member: str) -> str:
    weights = sorted(name for name in files if name.endswith(SUFFIXES) and (not member or name == member))
    if len(weights) == 1:
        return weights[0]
    what = f"{len(weights)} weight files" if weights else f"no weight file{f' {member!r}' if member else ''}"
    raise NotFound(f"'wandb:{target}' has {what}.", hint=f"Write wandb:{target}#FILE.")
