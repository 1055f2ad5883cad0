"""Settings of a decomposition and of the room's studies; loads without torch."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from digsite.base.families import scan
from digsite.config import Config, Field

LOSSES = scan("digsite.decompose.losses")
GATES = scan("digsite.decompose.gates")

if TYPE_CHECKING:
    Loss = Any
    Gate = Any
else:
    Loss = Annotated[Union[tuple(m.Settings for m in LOSSES.values())], Field(discriminator="kind")]  # noqa: UP007
    Gate = Annotated[Union[tuple(m.Settings for m in GATES.values())], Field(discriminator="kind")]  # noqa: UP007


class FaithfulnessWarmup(Config):
    steps: int = Field(200, ge=0, description="steps on faithfulness alone before the decomposition starts")
    lr: float = Field(0.01, gt=0, description="learning rate of these steps")
    weight_decay: float = Field(0.1, ge=0, description="AdamW weight decay of these steps")


class Schedule(Config):
    kind: Literal["constant", "linear", "cosine", "half_cosine", "exponential"] = "constant"
    warmup: float = Field(0.0, ge=0, le=1, description="share of training with a linear rise of the rate")
    final: float = Field(0.0, ge=0, le=1, description="factor that the schedule ends at")
    halflife: float = Field(1000.0, gt=0, description="steps in which the exponential schedule halves")


class DecomposeConfig(Config):
    """How to decompose; what is decomposed (model, modules, data) comes beside it."""

    C: int | dict[str, int] = Field(100, description="components per module, or by pattern over module names")
    init: Literal["fan", "overlap"] = Field("fan", description="initial scale of the parts")
    tied: bool = Field(True, description="modules with exactly transposed weights share their parts")
    delta: bool = Field(True, description="the residual W - VU takes part as one more masked component")
    gate: Gate = Field(default_factory=lambda: GATES["mlp"].Settings(), description="causal-importance function")
    sigmoid: Literal["leaky_hard", "paper", "hard", "normal", "swish"] = Field(
        "leaky_hard", description="from logit to importance"
    )
    jitter: bool = Field(False, description="jitter the logits before the sigmoid, as binomial masks need")
    losses: dict[str, Loss] = Field(default_factory=lambda: default_losses(), description="loss terms by a name of yours")
    compare: Literal["mse", "kl"] = Field("mse", description="distance between outputs")
    steps: int = Field(10_000, gt=0, description="optimizer steps")
    batch: int = Field(2048, gt=0, description="rows per step")
    accumulate: int = Field(1, gt=0, description="batches per optimizer step")
    lr: float = Field(1e-3, gt=0, description="learning rate")
    gate_lr: float = Field(1.0, gt=0, description="factor on the rate for the gates")
    schedule: Schedule = Field(Schedule(), description="how the rate moves")
    weight_decay: float = Field(0.0, ge=0, description="AdamW weight decay")
    clip: float = Field(0.0, ge=0, description="gradient norm above which a member's gradient is scaled down; 0 = never")
    faithfulness_warmup: FaithfulnessWarmup = Field(FaithfulnessWarmup(), description="first let the parts add up")
    merge_zero_rows: bool = Field(True, description="let one row of zeros stand for all where that is exact")
    fold: bool = Field(True, description="multiply frozen embeddings into the parts where that is exact")
    compile: Literal["auto", "always", "never"] = Field("auto", description="compile the step; auto asks for length and a compiler")
    autocast: bool = Field(False, description="forward passes in bfloat16")


def default_losses() -> dict[str, Config]:
    recon, minimality = LOSSES["recon"].Settings, LOSSES["importance_minimality"].Settings
    return {
        "importance_minimality": minimality(),
        "stochastic_recon": recon(),
        "stochastic_recon_layerwise": recon(routing="layerwise"),
    }
