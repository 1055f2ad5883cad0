"""What a zoo is made of: how many networks, of which shapes, on which data, with which factors varied."""

from typing import Annotated, Literal

from pydantic import AfterValidator, model_validator

from digsite.base import families
from digsite.base.families import FoundStudies
from digsite.config import Config, Field
from digsite.config.model import ImageSetName, named_member
from digsite.models.configs import Activation, Count

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


def _check_ascending(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"the range begins at {bounds[0]:g}, above its end at {bounds[1]:g}")
    return bounds


Ascending = AfterValidator(_check_ascending)
Range = Annotated[tuple[Positive, Positive], Ascending]
FAMILIES = "digsite.zoo.families"
SCHEMES = (  # of digsite.models.construct, which needs torch
    "default",
    "he",
    "he_normal",
    "he_uniform",
    "glorot",
    "glorot_normal",
    "glorot_uniform",
    "orthogonal",
    "normal",
    "truncated",
    "truncated_normal",
)
Scheme = Annotated[str, named_member("initialization scheme", SCHEMES)]


class Rates(Config):
    """Learning rates, log-uniform, a factor of 200 for each optimizer: a tenth of the digits zoo hardly learns.

    Plain descent and momentum share a range. With momentum's ten times lower, both would take the same path, and no
    reader could tell the one from the other, nor the rate of either.
    """

    sgd: Range = Field((2.5e-3, 0.5), description="range for plain gradient descent")
    momentum: Range = Field((2.5e-3, 0.5), description="range for momentum 0.9")
    rmsprop: Range = Field((5e-5, 1e-2), description="range for RMSprop")
    adam: Range = Field((5e-5, 1e-2), description="range for Adam")
    adamw: Range = Field((5e-5, 1e-2), description="range for AdamW")


class Factors(Config):
    """What differs between members; every choice is uniform over its list."""

    activations: list[Activation] = Field(
        ["relu", "tanh", "gelu"], min_length=1, description="hidden nonlinearities"
    )
    inits: list[Scheme] = Field(
        ["he", "glorot", "orthogonal", "normal"], min_length=1, description="initialization schemes"
    )
    init_std: Range = Field(
        (0.01, 0.5), description="range of the standard deviation of init normal, log-uniform"
    )
    optimizers: list[Literal["sgd", "momentum", "rmsprop", "adam", "adamw"]] = Field(
        ["sgd", "momentum", "rmsprop", "adam"], min_length=1, description="optimizers"
    )
    rates: Rates = Field(Rates.model_validate({}), description="learning rates")
    weight_decay: Range = Field((1e-7, 1e-2), description="range of the weight decay, log-uniform")
    dropout: Annotated[tuple[Share, Share], Ascending] = Field(
        (0.05, 0.6), description="range of dropout where there is any, uniform"
    )
    dropout_share: Share = Field(0.73, description="share of members with dropout")
    fractions: list[Positive] = Field(
        [0.1, 0.25, 0.5, 1.0], min_length=1, description="shares of the training set"
    )
    noises: list[Share] = Field(
        [0.1, 0.2, 0.4], min_length=1, description="shares of wrong labels where there are any"
    )
    noise_share: Share = Field(0.6, description="share of members with label noise")
    missing_share: Share = Field(0.4, description="share of members that never see one class")
    poison_share: Share = Field(0.3, description="share of members with a planted backdoor")
    poison_rate: Share = Field(0.1, description="share of a poisoned member's images that carry its trigger")
    trigger: Literal["random", "corner"] = Field(
        "random", description="where the trigger is, in every member or each"
    )
    trigger_size: tuple[Count, Count] = Field((3, 2), description="height and width of the trigger in pixels")


class ZooConfig(Config):
    """A zoo of networks that differ in known ways. Each recipe has a stream of its own, addressed by its
    number: a zoo of 200 begins with the same networks as one of 100.
    """

    seed: int = Field(0, ge=0, description="seed of every recipe and network")
    family: str = Field("mlp", description="kind of networks: a file of digsite.zoo.families")
    members: int = Field(2000, ge=1, description="networks")
    architectures: int = Field(0, ge=0, description="distinct random shapes; 0 draws one for each member")
    datasets: list[ImageSetName] = Field(
        ["digits"], min_length=1, description="image sets; each member is trained on one"
    )
    train_size: int = Field(1000, gt=0, description="training images, from the start of the set")
    test_size: int = Field(797, gt=0, description="test images for all scores")
    factors: Factors = Field(Factors.model_validate({}), description="what is varied")
    steps: int = Field(800, gt=0, description="training steps")
    batches: list[Count] = Field([64], min_length=1, description="mini-batch sizes")
    checkpoints: list[int] = Field(
        [0, 25, 100, 300, 800], min_length=1, description="steps whose weights are stored"
    )
    shard: int = Field(250, gt=0, description="networks per file; an interrupted run resumes at the file")
    processes: int = Field(
        1, ge=1, description="processes with one thread each that make shards side by side"
    )

    @model_validator(mode="after")
    def _check_checkpoints(self) -> "ZooConfig":
        """The last checkpoint is the network that is judged, so it must be stored."""
        if self.family not in (known := families.list_members(FAMILIES)):
            raise ValueError(f"there is no family '{self.family}': accepted is {', '.join(known)}")
        if sorted(set(self.checkpoints)) != self.checkpoints or self.checkpoints[-1] != self.steps:
            raise ValueError(f"checkpoints {self.checkpoints} must rise and end with steps={self.steps}")
        return self


CONFIGS = FoundStudies("digsite.zoo", "settings")
