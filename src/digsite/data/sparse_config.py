"""What a batch of sparse features is drawn from; without torch, so that configs of studies can hold it."""

from typing import Literal

from digsite.config import Config, Field

Kind = Literal[
    "at_least_zero_active",
    "exactly_one_active",
    "exactly_two_active",
    "exactly_three_active",
    "exactly_four_active",
    "exactly_five_active",
]


class SparseFeatures(Config):
    """Inputs whose features are rarely on, which is what lets many of them share few dimensions."""

    n_features: int = Field(5, gt=0, description="features of an input")
    active: Kind = Field("at_least_zero_active", description="each on with `probability`, or exactly so many")
    probability: float = Field(0.05, gt=0, le=1, description="probability that a feature is on")
    low: float = Field(0.0, description="smallest value of a feature that is on")
    high: float = Field(1.0, description="largest value of a feature that is on")
    synced: list[list[int]] = Field([], description="groups of features that switch on together")
