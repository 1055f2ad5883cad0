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


class GridConfig(Config):
    """The original's grid of architectures and data sets, with seeds."""

    seed: int = Field(0, description="first seed; every member has its own")
    seeds: int = Field(3, gt=0, description="networks per cell, trained as one ensemble")
    sets: list[str] = Field(
        ["digits", "stories"],
        min_length=1,
        description="image sets by name, and 'stories' for texts to classify",
    )
    families: list[Literal["mlp", "cnn", "transformer"]] = Field(
        ["mlp", "cnn", "transformer"], min_length=1, description="architecture families"
    )
    archs: list[str] = Field([], description="only these shapes; empty for all fifteen")
    steps: int = Field(2000, gt=0, description="training steps of each network")
    every: int = Field(10, gt=0, description="training steps between samples")
    batch: int = Field(32, gt=0, description="images per step")
    text_batch: int = Field(8, gt=0, description="texts per step: a text has 36 tokens, an image 4 patches")
    lr: float = Field(1e-3, gt=0, description="Adam's learning rate")
    n_train: int = Field(1500, gt=0, description="training examples")
    side: int = Field(8, gt=0, description="images are averaged down to this many pixels a side")
    rows: int = Field(96, gt=15, description="rows of the fixed probe")
    measure: str = Field(
        "centered/participation_ratio_variance",
        description="the measure whose jumps, order and periods are analyzed",
    )
    measures: list[str] = Field(
        [
            "stable_rank",
            "participation_ratio",
            "effective_rank_90",
            "nuclear_norm_ratio",
            "centered/stable_rank",
            "centered/participation_ratio_variance",
            "centered/entropy_rank",
            "mean_share",
            "two_nn",
            "cka_to_init",
            "cka_to_previous",
            "cka_to_final",
        ],
        min_length=1,
        description="what is stored of each layer",
    )
    heatmaps: bool = Field(True, description="draw a heat map for the first seed of each cell")


CONFIGS: dict[str, type[Config]] = {"as_published": AsPublishedConfig, "grid": GridConfig}
