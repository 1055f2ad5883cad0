"""What batches are drawn from: sparse features, or text; without torch, so that configs of studies can hold it."""

from typing import Literal

from digsite.config import Config, Field
from digsite.config.model import CorpusName

Kind = Literal[
    "at_least_zero_active",
    "exactly_one_active",
    "exactly_two_active",
    "exactly_three_active",
    "exactly_four_active",
    "exactly_five_active",
]


class Sparse(Config):
    """How often features are on, and how much; it takes their rarity to let many of them share few dimensions."""

    active: Kind = Field(
        default="at_least_zero_active", description="each on with `probability`, or exactly so many"
    )
    probability: float = Field(default=0.05, gt=0, le=1, description="probability that a feature is on")
    low: float = Field(default=0.0, description="smallest value of a feature that is on")
    high: float = Field(default=1.0, description="largest value of a feature that is on")
    synced: list[list[int]] = Field(default=[], description="groups of features that switch on together")


class SparseFeatures(Sparse):
    """Inputs whose features are rarely on."""

    n_features: int = Field(default=5, gt=0, description="features of an input")


class Text(Config):
    """What a language model reads."""

    source: CorpusName = Field(
        default="stories", description="the story language, a corpus by name, a file, or hub:DATASET"
    )
    column: str = Field(default="text", description="column of a hub dataset")
    tokenizer: str = Field(
        default="", description="file or folder of the tokenizer; none: beside the model's weights"
    )
    context: int = Field(default=64, gt=1, description="tokens in a row")
    documents: int = Field(default=400, gt=0, description="texts of a corpus that are read")
    rows: int = Field(default=4000, gt=0, description="rows of stories that are told")
