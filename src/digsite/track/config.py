"""Settings of the room's studies."""

from __future__ import annotations

from typing import Literal

from digsite.config import Config, Field


class AsPublishedConfig(Config):
    """The audit of the 55 published runs."""

    seed: int = Field(0, description="seed of shifts and permutations")
    source: Literal["published", "retrained"] = Field(
        "published",
        description="the published series (ndt_runs under DIGSITE_DATA), or a small run recorded the original way",
    )
    limit: int | None = Field(None, gt=0, description="use only this many runs of each architecture family")
    steps: int = Field(2000, gt=0, description="training steps of a retrained run")
    every: int = Field(5, gt=0, description="training steps between samples of a retrained run")


CONFIGS: dict[str, type[Config]] = {"as_published": AsPublishedConfig}
