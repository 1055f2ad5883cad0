"""Decompositions as files: safetensors with the settings in its metadata; no pickle."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from digsite.base import atomic
from digsite.base.errors import NotFound, UsageError
from digsite.config import Config
from digsite.decompose.config import DecomposeConfig
from digsite.decompose.core.components import Decomposed
from digsite.decompose.core.scene import Plan
from digsite.decompose.core.target import Target
from digsite.weights import parse_reference
from digsite.weights.sources.local import locate_artifact
from digsite.weights.sources.remote import fetch_file

SCHEMA = 1
Stored = tuple[Plan, dict[str, Tensor], DecomposeConfig, dict[str, Any]]
ARTIFACT = "artifacts/decomposition.safetensors"


def contents(found: Decomposed) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of the file."""
    tensors = {f"parts/{key}": value for key, value in found.params.items()}
    seen: set[int] = set()
    for name, value in found.model.state_dict().items():
        tensors[f"target/{name}"] = value.clone() if value.data_ptr() in seen else value
        seen.add(value.data_ptr())
    model = getattr(found.model, "config", None)
    settings = {
        "schema": SCHEMA,
        "config": found.config.model_dump(mode="json"),
        "model": model.model_dump(mode="json") if isinstance(model, Config) else None,
        "owners": found.plan.owners,
        "unit": found.plan.unit,
        **found.origin,
    }
    return tensors, {"decomposition": json.dumps(settings)}


def save(found: Decomposed, path: Path) -> Path:
    tensors, metadata = contents(found)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.replace_file(path) as temporary:
        save_file(
            {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()},
            temporary,
            metadata=metadata,
        )
    return path


def load(reference: str | Path, model: nn.Module | None) -> Stored:
    """The four fields of a stored decomposition; `model` gives the architecture where the file does not."""
    path = locate(str(reference))
    with safe_open(path, framework="pt") as file:
        settings = json.loads((file.metadata() or {}).get("decomposition", "null"))
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    if settings is None:
        raise UsageError(f"'{path}' is not a decomposition: its metadata does not say how it was made.")
    config = DecomposeConfig.model_validate(settings["config"])
    state = {k.removeprefix("target/"): v for k, v in tensors.items() if k.startswith("target/")}
    target = _target(settings, state, model, path)
    plan = Plan(target, settings["owners"], config.gate, config.sigmoid, config.delta, config.compare)
    plan = replace(plan, unit=settings.get("unit", 1.0))
    params = {k.removeprefix("parts/"): v for k, v in tensors.items() if k.startswith("parts/")}
    return plan, params, config, {key: settings[key] for key in ("modules", "identity", "output")}


def _target(
    settings: dict[str, Any], state: dict[str, Tensor], model: nn.Module | None, path: Path
) -> Target:
    if model is None and settings["model"] is None:
        raise UsageError(
            f"'{path}' does not say which architecture it is for.",
            hint="Give it: Decomposition.load(path, model=...).",
        )
    if model is None:
        from digsite.models import empty, parse

        model = empty(parse(settings["model"]))
    target = Target(model, settings["modules"], identity=settings["identity"], output=settings["output"])
    target.model.load_state_dict(state)
    return target


def locate(reference: str) -> Path:
    """A file, a folder that holds one, `run:ID`, `run:ID#member-3` or `wandb:...`."""
    found = parse_reference(reference)
    if found.scheme == "run":
        return locate_artifact(found.target, found.member or "decomposition")
    if found.scheme == "wandb":
        return fetch_file(found.target, found.member)
    path = Path(found.target)
    path = path / ARTIFACT if path.is_dir() else path
    if not path.is_file():
        raise NotFound(f"There is no decomposition at '{reference}'.")
    return path
