"""What a run left: `run:ID#artifact`, with the artifact's name where there are several."""

from pathlib import Path

from digsite.base import settings
from digsite.base.errors import NotFound, name_nearest
from digsite.record.listing import find_run
from digsite.weights.bundle import WeightBundle
from digsite.weights.reader import open_weights


def read(target: str, member: str) -> WeightBundle:
    return open_weights(path(target, member))


def path(target: str, member: str = "") -> Path:
    run = find_run(target, settings.runs_dir())
    found = {p.stem: p for p in sorted(run.artifacts.glob("*.safetensors"))}
    wanted = member or ("model" if "model" in found else "")
    if wanted in found:
        return found[wanted]
    if not wanted and len(found) == 1:
        return next(iter(found.values()))
    if not found:
        raise NotFound(f"The run '{run.id}' has no stored tensors.")
    problem = f"no tensors called '{wanted}'" if wanted else f"{len(found)} sets of tensors"
    raise NotFound(
        f"The run '{run.id}' has {problem}.", hint=f"Write run:{target}#NAME. {name_nearest(wanted, found)}"
    )
