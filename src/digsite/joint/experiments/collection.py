"""What `digsite dig` says of a folder that holds several models: a training's checkpoints, or models side by side."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import pandas as pd

from digsite.base.errors import DigsiteError
from digsite.joint.config import DigConfig
from digsite.joint.core.statements import Allowance
from digsite.joint.experiments.answer import claim_numbers
from digsite.joint.subjects.model import list_checkpoints, list_models
from digsite.read.judge.condition import LEVEL, check_training
from digsite.track.api import track
from digsite.weights import open_weights
from digsite.worker.run import Run


def dig_collection(config: DigConfig, run: Run) -> bool:
    """Answer for a folder of several models; False where `config.model` is one model, of which nothing is said here."""
    folder = Path(config.model.removeprefix("file:")).expanduser()
    if list_checkpoints(folder):
        _tell_training(folder, run)
        return True
    models = list_models(folder)
    if models:
        _tell_models(folder, models, Allowance(config.seconds), run)
    return bool(models)


def _conclude(run: Run, text: str) -> None:
    claim_numbers(run, "folder", text, "the folder")
    run.verdict(text)


def _tell_training(folder: Path, run: Run) -> None:
    """The jumps of its series, by the track room's own detector and with its correction for their number."""
    steps = list_checkpoints(folder)
    reading = track(folder)
    jumps = reading.table
    run.claim("checkpoints", len(steps), kind="count", title="Checkpoints in the folder")
    run.claim(
        "jumps",
        len(jumps),
        kind="count",
        title="Jumps in the series of its layers, at a false discovery rate of 0.05",
    )
    if len(jumps):
        run.table("jumps", jumps)
        run.view(
            "jumps", kind="table", source="tables/jumps.csv", caption="Jumps in the series of its layers."
        )
    run.headline(["checkpoints", "jumps"])
    _conclude(
        run,
        f"'{folder.name}' is a training and not one model: {len(steps)} checkpoints from step {steps[0][0]} to {steps[-1][0]}. "
        f"{len(jumps)} jumps stand out of {len(reading.found)} series of its layers. More: digsite track {folder}; "
        "of one moment: digsite dig, with one of its files.",
    )


def _tell_models(folder: Path, models: list[Path], allowance: Allowance, run: Run) -> None:
    rows: list[dict[str, Any]] = []
    for path in models:
        if allowance.is_used and rows:
            break
        rows.append(_describe_file(path))
    table = pd.DataFrame(rows)
    run.table("models", table)
    run.view(
        "models", kind="table", source="tables/models.csv", caption="The models of the folder, one a row."
    )
    trained = sum(bool(row["trained"]) for row in rows)
    run.claim("models", len(models), kind="count", title="Models in the folder")
    run.claim(
        "trained",
        trained,
        n=len(rows),
        null=LEVEL * len(rows),
        null_is="random matrices of the same shapes",
        kind="count",
        title="Models whose matrices depart from random ones",
    )
    run.headline(["models", "trained"])
    left = len(models) - len(rows)
    _conclude(
        run,
        f"'{folder.name}' holds {len(models)} models and not one: {trained} of {len(rows)} look trained"
        f"{f', {left} were not opened for lack of time' if left else ''}. One of them: digsite dig {folder}/{models[0].name}; "
        f"which descend from which: digsite read {folder} --lineage.",
    )


def _describe_file(path: Path) -> dict[str, Any]:
    """Size, format and whether it looks trained; what cannot be opened says why."""
    row: dict[str, Any] = {
        "model": path.name,
        "parameters": 0,
        "tensors": 0,
        "trained": False,
        "p": None,
        "why not": "",
    }
    try:
        bundle = open_weights(path)
        training = check_training(bundle.tensors)
    except DigsiteError as error:
        return row | {"why not": str(error)}
    size = sum(prod(bundle.shape(name)) for name in bundle.tensors)
    return row | {"parameters": size, "tensors": len(bundle), "trained": training.trained, "p": training.p}
