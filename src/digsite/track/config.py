"""Settings of the room's studies."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import model_validator

from digsite.base.families import FoundStudies
from digsite.config import Config, Field
from digsite.config.model import NamesData, list_known, named_member

TEXT = "stories"
MLPS: dict[str, list[int]] = {
    "mlp_shallow_2": [128, 64],
    "mlp_medium_5": [64, 64, 64, 64, 32],
    "mlp_deep_10": [32] * 10,
    "mlp_verydeep_15": [24] * 15,
    "mlp_narrow": [32] * 4,
    "mlp_medium": [128, 128, 64, 64],
    "mlp_wide": [256, 256, 128, 128],
    "mlp_verywide": [512, 512, 256, 256],
}
CNNS: dict[str, list[int]] = {
    "cnn_shallow": [32, 64],
    "cnn_medium": [32, 64, 128],
    "cnn_deep": [32, 64, 128, 256],
}
TRANSFORMERS: dict[str, tuple[int, int]] = {  # width, layers
    "transformer_shallow": (128, 2),
    "transformer_medium": (128, 4),
    "transformer_deep": (128, 6),
    "transformer_narrow": (64, 4),
}


def describe_shapes() -> dict[str, str]:
    """Every architecture of the grid, with its sizes in words."""
    words = {name: f"MLP with hidden widths {', '.join(map(str, sizes))}" for name, sizes in MLPS.items()}
    words |= {
        name: f"3x3 convolutions with channels {', '.join(map(str, sizes))}" for name, sizes in CNNS.items()
    }
    return words | {
        name: f"encoder of width {width} with {layers} layers"
        for name, (width, layers) in TRANSFORMERS.items()
    }


SIMILAR = ("cka_to_init", "cka_to_previous", "cka_to_final")
WEIGHTS = ("stable_rank", "participation_ratio_variance", "entropy_rank", "spectral_norm")


def measure_names() -> list[str]:
    """What can be asked of a layer: the family, raw and centered, and what needs no spectrum or another network."""
    members = list_known(["digsite.track.core.measures"])
    of_weights = [f"{what}/{name}" for what in ("weight", "update") for name in ("norm", *WEIGHTS)]
    others = ["mean_share", "two_nn", "centered/participation_ratio_unbiased", "update/relative"]
    return [*members, *(f"centered/{name}" for name in members), *others, *SIMILAR, *of_weights]


Measure = Annotated[str, named_member("measure", measure_names)]
DataSet = Annotated[
    str,
    named_member("data set", "digsite.data.sets", [TEXT]),
    NamesData("digsite.data.images:refuse_missing", (TEXT,), always=True),
]
Shape = Annotated[str, named_member("architecture", MLPS, CNNS, TRANSFORMERS)]


class AsPublishedConfig(Config):
    """The audit of the 55 published runs."""

    seed: int = Field(0, ge=0, description="seed of shifts and permutations")
    source: Literal["published", "retrained"] = Field(
        "published",
        description="the published series (ndt_runs under DIGSITE_DATA), or a small run recorded the original way",
    )
    limit: int | None = Field(None, gt=0, description="use only this many runs of each architecture family")
    heatmaps: bool = Field(True, description="draw the repaired series of every run as a heat map")
    steps: int = Field(2000, gt=0, description="training steps of a retrained run")
    every: int = Field(5, gt=0, description="training steps between samples of a retrained run")


class GridConfig(Config):
    """The original's grid of architectures and data sets, with seeds."""

    seed: int = Field(0, ge=0, description="first seed; every member has its own")
    seeds: int = Field(3, gt=0, description="networks per cell, trained as one ensemble")
    sets: list[DataSet] = Field(
        ["digits", "stories"],
        min_length=1,
        description="image sets by name, and 'stories' for texts to classify",
    )
    families: list[Literal["mlp", "cnn", "transformer"]] = Field(
        ["mlp", "cnn", "transformer"], min_length=1, description="architecture families"
    )
    archs: list[Shape] = Field([], description="only these shapes; empty for all fifteen")
    steps: int = Field(2000, gt=0, description="training steps of each network")
    every: int = Field(10, gt=0, description="training steps between samples")
    batch: int = Field(32, gt=0, description="images per step")
    text_batch: int = Field(
        4, gt=0, description="texts per step of a transformer: 36 tokens each, where an image has 4 patches"
    )
    lr: float = Field(1e-3, gt=0, description="Adam's learning rate")
    n_train: int = Field(1500, gt=0, description="training examples")
    side: int = Field(8, gt=0, description="images are averaged down to this many pixels a side")
    patches: int = Field(
        2,
        gt=0,
        description="patches a side that a transformer sees: 2 make four tokens of an image, 4 sixteen",
    )
    rows: int = Field(96, gt=15, description="rows of the fixed probe")
    measure: Measure = Field(
        "centered/participation_ratio_variance",
        description="the measure whose jumps, order and periods are analyzed",
    )
    measures: list[Measure] = Field(
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


class GrokkingTask(Config):
    """Addition modulo a prime with weight decay: memorized first, understood later."""

    kind: Literal["grokking"] = "grokking"
    modulus: int = Field(43, gt=4, description="p of a + b mod p")
    fraction: float = Field(0.5, gt=0, lt=1, description="share of the pairs that is trained on")
    width: int = Field(128, gt=0, description="hidden width")
    weight_decay: float = Field(1.0, ge=0, description="AdamW's weight decay")


class InductionTask(Config):
    """Random strings said twice: a two-layer attention model learns to look one behind the last occurrence."""

    kind: Literal["induction"] = "induction"
    vocab: int = Field(32, gt=4, description="tokens that exist")
    half: int = Field(12, gt=3, description="length of the string that is repeated")
    width: int = Field(48, gt=0, description="width of the residual stream")
    heads: int = Field(2, gt=0, description="heads of each layer")
    batch: int = Field(32, gt=0, description="strings per step")


class TmsTask(Config):
    """A toy autoencoder of sparse features of falling importance: they are learned one after the other."""

    kind: Literal["tms"] = "tms"
    features: int = Field(6, gt=1, description="sparse features")
    hidden: int = Field(3, gt=0, description="width of the bottleneck")
    probability: float = Field(0.5, gt=0, le=1, description="chance that a feature is on")
    importance: float = Field(
        0.45, gt=0, le=1, description="importance of each feature relative to the one before"
    )
    batch: int = Field(256, gt=0, description="inputs per step")


class DeepLinearTask(Config):
    """A two-layer linear network on whitened inputs: its modes rise at times known in closed form."""

    kind: Literal["deep_linear"] = "deep_linear"
    strengths: list[float] = Field(
        [6.0, 3.0, 1.5, 0.75], min_length=1, description="singular values of the target"
    )
    start: float = Field(1e-3, gt=0, description="strength of each mode at the start")
    noise: float = Field(0.02, ge=0, description="standard deviation of label noise, new at each step")
    inputs: int = Field(16, gt=0, description="input dimensions")


class FrozenTask(Config):
    """A network that does not learn: nothing may be found."""

    kind: Literal["frozen"] = "frozen"


class RandomLabelsTask(Config):
    """Digits with labels drawn anew for each image at each step: gradients without anything to learn."""

    kind: Literal["random_labels"] = "random_labels"


TaskConfig = Annotated[
    GrokkingTask | InductionTask | TmsTask | DeepLinearTask | FrozenTask | RandomLabelsTask,
    Field(discriminator="kind"),
]


class TransitionConfig(Config):
    """A training run with a known answer, tracked over several seeds."""

    seed: int = Field(0, ge=0, description="first seed")
    seeds: int = Field(10, gt=0, description="networks, trained as one ensemble")
    task: TaskConfig = Field(
        default_factory=lambda: GrokkingTask.model_validate({}), description="what is learned"
    )
    steps: int = Field(1200, gt=0, description="training steps")
    every: int = Field(5, gt=0, description="training steps between samples")
    lr: float = Field(0.01, ge=0, description="learning rate")
    rows: int = Field(96, gt=15, description="rows of the fixed probe")
    measures: list[Measure] = Field(
        [
            "stable_rank",
            "centered/stable_rank",
            "centered/participation_ratio_variance",
            "centered/entropy_rank",
            "two_nn",
            "weight/stable_rank",
            "weight/norm",
        ],
        min_length=1,
        description="the measures that may find the transition",
    )
    max_q: float = Field(
        0.05, gt=0, lt=1, description="a jump counts when its q-value over layers is at most this"
    )


class MechanismsConfig(GridConfig):
    """Phase 2: the same trainings again with checkpoints around jumps, and what changed inside."""

    seeds: int = Field(5, gt=1, description="networks per cell; the units of every test")
    sets: list[DataSet] = Field(["digits"], min_length=1, description="image sets by name, and 'stories'")
    archs: list[Shape] = Field(
        ["mlp_medium", "cnn_medium", "transformer_shallow"],
        description="only these shapes; empty for all fifteen",
    )
    steps: int = Field(1000, gt=0, description="training steps of each network")
    every: int = Field(5, gt=0, description="training steps between samples")
    measures: list[Measure] = Field(
        ["stable_rank", "centered/participation_ratio_variance"],
        min_length=1,
        description="what is stored of each layer",
    )
    brackets: int = Field(4, gt=0, description="most jumps per network that are looked at")
    max_q: float = Field(
        0.05, gt=0, le=1, description="a jump counts when its q-value over layers is at most this"
    )
    budget_mb: float = Field(
        64, gt=0, description="megabytes of checkpoints that the plan may ask for, per network"
    )
    optimizer_state: bool = Field(
        False, description="store what the optimizer remembers beside the weights of a checkpoint"
    )


class AuditConfig(Config):
    """Faults planted into clean series of checkpoints."""

    seed: int = Field(200, ge=0, description="of the trainings and of what is planted where")
    grounds: list[str] = Field([], description="only these architectures; empty for all ten, two series each")
    steps: int = Field(400, gt=40, description="training steps of each series")
    checkpoints: int = Field(41, gt=20, description="checkpoints of each series")
    draws: int = Field(8, gt=0, description="plantings of each kind in each series")


class CoefficientConfig(Config):
    """Learning coefficients beside the closed form, and over a training."""

    seed: int = Field(0, ge=0, description="of architectures, weights and chains")
    architectures: int = Field(10, gt=0, description="deep linear networks, drawn")
    temperature: float = Field(1e4, gt=1, description="inverse temperature of the chains on linear networks")
    chains: int = Field(8, gt=3, description="chains of each estimate; half as many over training")
    samples: int = Field(
        3000, gt=15, description="steps of each chain after burn-in; a quarter over training"
    )
    burn: int = Field(1000, gt=3, description="steps before them")
    modulus: int = Field(31, gt=4, description="p of the training that is followed")
    width: int = Field(48, gt=1, description="hidden width of its network")
    steps: int = Field(800, gt=0, description="its training steps")
    checkpoints: int = Field(9, gt=1, description="where the coefficient is measured")


class FormationConfig(Config):
    """When each representation formed, in published curves."""

    seed: int = Field(0, ge=0, description="of the trained networks")
    sources: list[Literal["published", "trained"]] = Field(
        ["published", "trained"],
        min_length=1,
        description="curves by others (grokking_curves under DIGSITE_DATA), own networks",
    )
    modulus: int = Field(31, gt=4, description="p of own networks, which add modulo p")
    width: int = Field(48, gt=1, description="their hidden width")
    steps: int = Field(1000, gt=0, description="their training steps")
    every: int = Field(10, gt=0, description="training steps between samples")
    decays: list[float] = Field([1.0, 3.0], min_length=1, description="weight decays")
    seeds: int = Field(4, gt=0, description="networks of each weight decay")


class WarningConfig(Config):
    """An early warning learned on some moduli and judged on others."""

    seed: int = Field(0, ge=0, description="of splits and networks")
    learn_on: list[int] = Field(
        [29, 31], min_length=1, description="moduli whose networks the score is learned on"
    )
    judge_on: list[int] = Field([37, 41], min_length=1, description="moduli whose networks it is judged on")
    decays: list[float] = Field([0.1, 1.0, 3.0], min_length=1, description="weight decays")
    shares: list[float] = Field(
        [0.7, 0.55, 0.4], min_length=1, description="shares of the pairs that are trained on"
    )
    seeds: int = Field(
        2, gt=0, description="networks of each weight decay and share, and with random answers"
    )
    controls: int = Field(
        7,
        ge=0,
        description="more networks with random answers, of each modulus and weight decay, to learn on and to count false alarms on",
    )
    width: int = Field(48, gt=1, description="hidden width")
    steps: int = Field(1000, gt=0, description="training steps")
    every: int = Field(20, gt=0, description="training steps between samples")
    follow: int = Field(
        3000,
        ge=0,
        description="steps that the undecided cell is trained in all, to know whether it rises later; 0 for none",
    )


class SampleLossConfig(Config):
    """Skills of different frequency, found from losses by sample."""

    seed: int = Field(0, ge=0, description="of data and networks")
    seeds: int = Field(5, gt=0, description="networks, and as many with random answers")
    skills: int = Field(5, gt=1, description="parities of two bits, each told by a one-hot input")
    falling: float = Field(0.6, gt=0, le=1, description="frequency of each skill relative to the one before")
    samples: int = Field(400, gt=20, description="held-out samples whose losses are followed")
    width: int = Field(64, gt=0, description="hidden units")
    batch: int = Field(64, gt=0, description="samples per step")
    lr: float = Field(2e-3, gt=0, description="Adam's learning rate")
    steps: int = Field(1500, gt=0, description="training steps")
    checkpoints: int = Field(51, gt=4, description="where losses are taken")
    directions: int = Field(3, gt=0, description="main directions of training that changes are split along")

    @model_validator(mode="after")
    def _check_checkpoints(self) -> "SampleLossConfig":
        """Losses are taken before the first step and after some of them, each time once."""
        if self.checkpoints > self.steps + 1:
            raise ValueError(
                f"{self.steps} steps have at most {self.steps + 1} checkpoints, not {self.checkpoints}"
            )
        return self


CONFIGS = FoundStudies("digsite.track", "settings")
