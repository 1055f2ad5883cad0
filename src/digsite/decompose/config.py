"""Settings of a decomposition and of the room's studies; loads without torch."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import AfterValidator, BeforeValidator, model_validator

from digsite.base.errors import name_nearest
from digsite.base.families import FoundStudies, list_members, scan_family
from digsite.config import Config, Field
from digsite.config.model import NamesModel, check_settings, named_member
from digsite.config.resolve import current_value
from digsite.data.config import Sparse, Text
from digsite.models.configs.dense import ModularMlpConfig, ResidMlpConfig, TmsConfig
from digsite.models.configs.language import Gpt2Config, LlamaConfig
from digsite.models.configs.sequence import InductionConfig

LOSSES = scan_family("digsite.decompose.core.losses")
GATES = scan_family("digsite.decompose.core.gates")

if TYPE_CHECKING:
    Loss = Any
    Gate = Any
else:
    Loss = Annotated[Union[tuple(LOSSES.values())], Field(discriminator="kind")]  # noqa: UP007
    Gate = Annotated[Union[tuple(GATES.values())], Field(discriminator="kind")]  # noqa: UP007


METRICS = "digsite.decompose.judge.metrics"
Figure = Annotated[str, named_member("figure", "digsite.decompose.figures")]
Metric = Annotated[str, named_member("metric", METRICS)]


def _read_settings(chosen: dict[str, Any]) -> dict[str, Any]:
    """A slip in a metric's settings shows when the run is planned."""
    check_settings(METRICS, chosen)
    return chosen


CONTESTANTS = "digsite.decompose.judge.contestants"


def _check_contestant(name: str) -> str:
    """A name of the family, or a stranger's function, which is looked up when it is called."""
    if not name.startswith("py:") and name not in list_members(CONTESTANTS):
        raise ValueError(
            f"there is no contestant '{name}'. {name_nearest(name, list_members(CONTESTANTS))} Or py:module:function."
        )
    return name


Contestant = Annotated[str, AfterValidator(_check_contestant)]
Start = Annotated[str, named_member("start of parts", "digsite.decompose.core.starts")]
Metrics = Annotated[dict[Metric, Any], AfterValidator(_read_settings)]
Toy = Annotated[TmsConfig | ResidMlpConfig, Field(discriminator="kind")]
Language = Annotated[LlamaConfig | Gpt2Config, Field(discriminator="kind")]


class FaithfulnessWarmup(Config):
    """Parts that begin near the matrix: without it the first thousand steps are about nothing else."""

    steps: int = Field(
        default=200, ge=0, description="steps on faithfulness alone before the decomposition starts"
    )
    lr: float = Field(default=0.01, gt=0, description="learning rate of these steps")
    weight_decay: float = Field(default=0.1, ge=0, description="AdamW weight decay of these steps")


class Schedule(Config):
    """How the learning rate moves over a training."""

    kind: Annotated[
        Literal["constant", "linear", "quarter_cosine", "half_cosine", "exponential"],
        BeforeValidator(partial(current_value, "decompose.schedule.kind")),
    ] = Field(default="constant", description="how the rate falls; half_cosine is what training calls cosine")
    warmup: float = Field(
        default=0.0, ge=0, le=1, description="share of training with a linear rise of the rate"
    )
    final: float = Field(default=0.0, ge=0, le=1, description="factor that the schedule ends at")
    halflife: float = Field(
        default=1000.0, gt=0, description="steps in which the exponential schedule halves"
    )


def default_losses() -> dict[str, Config]:
    """The published three."""
    recon, minimality = LOSSES["recon"], LOSSES["importance_minimality"]
    return {
        "importance_minimality": minimality(),
        "stochastic_recon": recon(),
        "stochastic_recon_layerwise": recon(routing="layerwise"),
    }


class DecomposeConfig(Config):
    """How to decompose; what is decomposed (model, modules, data) comes beside it."""

    C: int | dict[str, int] | Literal["rank"] = Field(
        default=100,
        description="components per module, or by pattern over module names; rank: as many as its matrix needs",
    )
    init: Start = Field(
        default="fan", description="where parts start: fan, overlap, singular, sparse, neurons (core/starts)"
    )
    faithful: Literal["learned", "exact"] = Field(
        default="learned",
        description="whether parts learn to add up, or start so (init=singular, sparse, neurons) and are only mixed",
    )
    tied: bool = Field(default=True, description="modules with exactly transposed weights share their parts")
    delta: bool = Field(
        default=True, description="the residual W - VU takes part as one more masked component"
    )
    gate: Gate = Field(default_factory=GATES["mlp"], description="causal-importance function")
    sigmoid: Literal["leaky_hard", "paper", "hard", "normal", "swish"] = Field(
        default="leaky_hard", description="from logit to importance"
    )
    jitter: bool = Field(
        default=False, description="jitter the logits before the sigmoid, as binomial masks need"
    )
    losses: dict[str, Loss] = Field(
        default_factory=default_losses, description="loss terms by a name of yours"
    )
    compare: Literal["mse", "kl", "relative"] = Field(
        default="mse",
        description="distance between outputs; relative: log(1 + squared error over the output's variance)",
    )
    steps: int = Field(default=10_000, gt=0, description="optimizer steps")
    batch: int = Field(default=2048, gt=0, description="rows per step")
    accumulate: int = Field(default=1, gt=0, description="batches per optimizer step")
    lr: float = Field(default=1e-3, gt=0, description="learning rate")
    gate_lr: float = Field(default=1.0, gt=0, description="factor on the rate for the gates")
    part_lr: float = Field(default=1.0, gt=0, description="factor on the rate for the parts")
    beta2: float = Field(default=0.999, gt=0, lt=1, description="AdamW's memory of squared gradients")
    schedule: Schedule = Field(default=Schedule(), description="how the rate moves")
    weight_decay: float = Field(default=0.0, ge=0, description="AdamW weight decay")
    clip: float = Field(
        default=0.0,
        ge=0,
        description="gradient norm above which a member's gradient is scaled down; 0 = never",
    )
    faithfulness_warmup: FaithfulnessWarmup = Field(
        default=FaithfulnessWarmup(), description="first let the parts add up"
    )
    retire: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of training after which components that no input uses are set to zero; 0 = never",
    )
    merge_zero_rows: bool = Field(
        default=True, description="let one row of zeros stand for all where that is exact"
    )
    fold: bool = Field(
        default=True, description="multiply frozen embeddings into the parts where that is exact"
    )
    compile: Literal["auto", "always", "never"] = Field(
        default="auto", description="compile the step; auto asks for length and a compiler"
    )
    autocast: bool = Field(default=False, description="forward passes in bfloat16")
    recompute: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="keep no intermediate values of gates and masked passes: less memory, more time; "
        "auto: where an eager step of one member would keep more than keep_gb",
    )
    keep_gb: float = Field(
        default=4.0, gt=0, description="memory that one step may keep before recompute=auto acts"
    )


class ToyTarget(Sparse):
    """A toy model and how it is trained before it is decomposed."""

    model: Toy = Field(default=TmsConfig(), description="architecture of the target")  # pyright: ignore[reportCallIssue]
    steps: int = Field(default=10_000, gt=0, description="training steps")
    batch: int = Field(default=1024, gt=0, description="inputs per step")
    lr: float = Field(default=5e-3, gt=0, description="AdamW learning rate")
    weight_decay: float = Field(default=0.01, ge=0, description="AdamW weight decay")
    schedule: Literal["constant", "linear", "cosine"] = Field(
        default="constant", description="learning-rate schedule"
    )
    attempts: int = Field(default=3, gt=0, description="starts that a target may need before it is refused")
    pretrained: Annotated[list[str], NamesModel()] = Field(
        default=[], description="weights of trained targets by reference, one for all seeds or one a seed"
    )


class Truth(Config):
    """What the importances of a module should look like when one feature is on at a time."""

    identity: int = Field(default=0, ge=0, description="one component for each of so many features")
    dense: int = Field(default=0, ge=0, description="so many components that are used together")


class EarlyStop(Config):
    """When a toy study ends before its last step: its importances have been right for some checks."""

    checks: int = Field(
        default=0,
        ge=0,
        description="stop when all members are recovered at so many checks in a row; 0 = never",
    )
    patience: int = Field(
        default=0, ge=0, description="stop when the errors have not fallen for so many checks; 0 = never"
    )
    tolerance: float = Field(default=0.2, gt=0, lt=1, description="tolerance of the pattern error")


class ToyConfig(Config):
    """Train toy targets, decompose them all at once, and score what was found against what is there."""

    seed: int = Field(default=0, ge=0, description="first seed")
    seeds: int = Field(
        default=1, gt=0, description="targets, each with its own decomposition, in one stacked program"
    )
    target: ToyTarget = Field(
        default=ToyTarget(), description="the model to decompose and the data it lives on"
    )
    modules: list[str] = Field(
        default=["linear1", "linear2"], min_length=1, description="patterns over module names"
    )
    truth: dict[str, Truth] = Field(description="what is to be found, by pattern over module names")
    decompose: DecomposeConfig = Field(default=DecomposeConfig(), description="how to decompose")
    log_every: int = Field(default=100, gt=0, description="steps between lines of the journal")
    check_every: int = Field(default=1000, gt=0, description="steps between scores against the truth")
    stop: EarlyStop = Field(default=EarlyStop(), description="stop before the last step")
    untrained: bool = Field(default=False, description="decompose an untrained target too, as a null")
    metrics: Metrics = Field(default={}, description="more metrics by name, each with its settings")
    figures: list[Figure] = Field(
        default=["permuted_ci", "uv", "ci_histograms", "course"], description="figures of the first member"
    )


class ModelConfig(Config):
    """Decompose a model of your own."""

    seed: int = Field(default=0, ge=0, description="first seed")
    seeds: int = Field(default=1, gt=0, description="decompositions of the model, in one stacked program")
    model: Annotated[str, NamesModel()] = Field(
        description="reference of the model: py:module:factory, file:..., zoo:NAME#123, hub:org/name"
    )
    modules: list[str] = Field(min_length=1, description="patterns over module names")
    identity: list[str] = Field(default=[], description="modules before which an identity is decomposed")
    output: str = Field(
        default="", description="attribute of the model's output to compare, or idx_n of a tuple"
    )
    data: str = Field(
        default="gaussian",
        description="gaussian, uniform, an image set, x.npy, text:CORPUS, or py:module:name",
    )
    decompose: DecomposeConfig = Field(default=DecomposeConfig(), description="how to decompose")
    log_every: int = Field(default=100, gt=0, description="steps between lines of the journal")
    metrics: Metrics = Field(
        default={"ci_l0": {}, "masked_recon": {}}, description="metrics by name, each with its settings"
    )
    figures: list[Figure] = Field(
        default=["ci_histograms", "ci_mean_per_component"], description="figures of the first member"
    )


class TokenStudy(Config):
    """What the studies of models that read tokens have in common."""

    seed: int = Field(default=0, ge=0, description="first seed")
    seeds: int = Field(default=1, gt=0, description="decompositions of the target, in one stacked program")
    modules: list[str] = Field(min_length=1, description="patterns over module names")
    decompose: DecomposeConfig = Field(
        default=DecomposeConfig(compare="kl"), description="how to decompose; batches are rows of tokens"
    )
    threshold: float = Field(
        default=0.1, ge=0, lt=1, description="importance above which a component counts and is kept"
    )
    eval_batches: int = Field(default=8, gt=0, description="held-out batches that answers are judged on")
    log_every: int = Field(default=50, gt=0, description="steps between lines of the journal")
    metrics: Metrics = Field(
        default={"ci_l0": {}, "alive_components": {}, "ce_and_kl": {}, "hidden_recon": {}},
        description="more metrics by name, each with its settings",
    )
    figures: list[Figure] = Field(
        default=["ci_histograms", "ci_mean_per_component", "token_importance"],
        description="figures of the first member",
    )


class Recipe(Config):
    """How a target is trained."""

    steps: int = Field(default=2500, gt=0, description="training steps")
    batch: int = Field(default=16, gt=0, description="rows per step")
    lr: float = Field(
        default=3e-3, gt=0, description="AdamW learning rate at its highest, then cosine to zero"
    )
    weight_decay: float = Field(default=0.01, ge=0, description="AdamW weight decay")
    warmup: int = Field(default=50, ge=0, description="steps in which the rate rises")


class LmConfig(TokenStudy):
    """Decompose a language model, and ask what its components are worth beside others of the same number."""

    model: Annotated[str, NamesModel("lm")] = Field(
        default="",
        description="reference of the model: file:FOLDER, hub:org/name, a name in the data folder; none: train one here",
    )
    output: str = Field(default="", description="attribute of the model's output that holds the logits")
    target: Language = Field(
        default=LlamaConfig(d_model=64, d_mlp=172, n_layers=2),  # pyright: ignore[reportCallIssue]
        description="the model that is trained here; its vocabulary and context are the data's",
    )
    training: Recipe = Field(default=Recipe(), description="how it is trained")
    text: Text = Field(default=Text(), description="what the model reads")

    @model_validator(mode="after")
    def _speaks(self) -> "LmConfig":
        """A model that is trained here knows only the story language."""
        if not self.model and self.text.source != "stories":
            raise ValueError(
                f"the text '{self.text.source}' (text.source) is for a model that model= names; "
                "the one that is trained here reads stories"
            )
        return self


class HeadsConfig(TokenStudy):
    """Decompose a small attention-only model that has learned to continue strings that repeat themselves."""

    target: InductionConfig = Field(
        default=InductionConfig(vocab=24, context=16, d_model=32, position="keys"),  # pyright: ignore[reportCallIssue]
        description="the model that is trained here",
    )
    training: Recipe = Field(
        default=Recipe(steps=3000, batch=128, lr=5e-3), description="how the target is trained"
    )
    rows: int = Field(default=20_000, gt=0, description="strings that it is trained on")
    demand: bool = Field(default=True, description="refuse a target that has not learned to copy")


class ModaddConfig(TokenStudy):
    """Decompose a network that adds modulo a prime, and look for single frequencies in its components."""

    network: str = Field(
        default="7r4zst7evs",
        description="published network of the data folder, where it is there; none: one is trained here",
    )
    target: ModularMlpConfig = Field(
        default=ModularMlpConfig(modulus=29, d_embed=48, d_out=128),  # pyright: ignore[reportCallIssue]
        description="the network that is trained here",
    )
    training: Recipe = Field(
        default=Recipe(steps=3000, batch=512, lr=3e-3, weight_decay=1.0), description="how it is trained"
    )


class SpdPublishedConfig(Config):
    """The published cosines beside random parts, on targets of the same shapes."""

    seed: int = Field(default=0, ge=0, description="first seed")
    seeds: int = Field(default=9, gt=0, description="targets of each shape")
    targets: dict[str, ToyTarget] = Field(
        default={
            "tms_5-2": ToyTarget.model_validate({"model": {"kind": "tms", "n_features": 5, "n_hidden": 2}}),
            "tms_40-10": ToyTarget.model_validate(
                {"model": {"kind": "tms", "n_features": 40, "n_hidden": 10}, "steps": 3000, "batch": 2048}
            ),
        },
        description="the toy model of each published row",
    )


class LabelsConfig(Config):
    """Train residual MLPs on the published labels and on labels without the embedding's noise, and compare."""

    seed: int = Field(default=0, ge=0, description="first seed")
    seeds: int = Field(default=5, gt=0, description="networks of each kind")
    target: ToyTarget = Field(
        default=ToyTarget.model_validate(
            {
                "model": {
                    "kind": "resid_mlp",
                    "n_features": 100,
                    "d_resid": 1000,
                    "d_mlp": 50,
                    "n_layers": 1,
                },
                "probability": 0.01,
                "low": -1.0,
                "steps": 1000,
                "batch": 2048,
                "lr": 3e-3,
                "schedule": "cosine",
            }
        ),
        description="the network, one layer without biases, and the data it lives on",
    )
    batches: int = Field(default=16, gt=0, description="fresh batches that losses are measured on")
    decomposed: int = Field(default=2, ge=0, description="networks of each kind that are taken apart too")
    decompose: DecomposeConfig = Field(default=DecomposeConfig(), description="how to decompose")

    @model_validator(mode="after")
    def _check_neurons(self) -> "LabelsConfig":
        """As many neurons as features do each feature alone without error, and then nothing can be saved."""
        model = self.target.model
        if isinstance(model, ResidMlpConfig) and model.d_mlp >= model.n_features:
            raise ValueError(
                f"neurons (target.model.d_mlp={model.d_mlp}) must be fewer than features ({model.n_features})"
            )
        return self


class ExamConfig(Config):
    """Let contestants decompose compiled programs, and score what they hand in against what is known."""

    seed: int = Field(
        default=0, ge=0, description="first seed; rotation k of a program is drawn from seed + k + 1"
    )
    programs: list[str] = Field(
        default=["frac_prevs", "hist", "neighbours"],
        min_length=1,
        description="compiled programs by name or path; `all` for those in DIGSITE_DATA, `named` for its eleven named, dyck10 for the proven network, `groups` and `toys` for trained ones",
    )
    rotations: int = Field(
        default=3, gt=0, description="hidden rotations of each program, each with its own seed"
    )
    contestants: list[Contestant] = Field(
        default=[
            "shipped",
            *["spd", "successor", "singular", "singular_all", "dictionary", "neurons", "random"],
        ],
        min_length=1,
        description="who sits the exam: names, or py:module:function for a method of your own",
    )
    steps: int = Field(
        default=0, ge=0, description="training steps of those that train; 0 = each recipe's own"
    )
    pad: int = Field(
        default=0, ge=0, description="directions and neurons that cannot matter, added before the rotation"
    )
    ladder: list[int] = Field(
        default=[20, 40, 80, 160, 320],
        min_length=1,
        description="steps at which the attack on the masks is scored",
    )
    compress: bool = Field(
        default=False, description="squeeze the stream until variables share directions, before padding"
    )
    exhaustive: int = Field(
        default=8, ge=0, le=16, description="parts left to choose up to which every mask is tried"
    )
    budget: float = Field(
        default=600.0, gt=0, description="CPU seconds an entry may take; a slower one is not scored"
    )
    most_inputs: int = Field(default=20_000, gt=0, description="inputs of a domain above which it is sampled")


CONFIGS = FoundStudies("digsite.decompose", "settings")
