"""Configs of the pruning studies; what they share is said once."""

from typing import Annotated, Literal

from pydantic import model_validator

from digsite.base.errors import UsageError, name_nearest
from digsite.base.families import FoundStudies, scan_member
from digsite.config import Config, Field
from digsite.config.model import CorpusName, NamesModel, list_known, named_member

AFTER = (
    "digsite.prune.core.repair",
    "digsite.prune.core.budget",
)  # families whose members may follow a plus, and:
ADDED = ("", "swaps", "owl")


def bare_method(text: str) -> str:
    """`sparse-gpt+swaps` -> `sparse_gpt`: dashes are as good as underscores, and what follows a plus is how."""
    method, *added = text.split("+")
    known = [*ADDED, *list_known(AFTER)]
    if strange := [word for word in added if word.replace("-", "_") not in known]:
        raise ValueError(f"'{text}' adds '{strange[0]}'. {name_nearest(strange[0], known[1:])}")
    return method.replace("-", "_")


SCORES = "digsite.prune.core.scores"
Method = Annotated[str, named_member("pruning method", SCORES, clean=bare_method)]
Level = Annotated[str, Field(pattern=r"^(\d+(\.\d+)?%|\d+:\d+)$")]


class StoryModel(Config):
    """The embedded default: a small Llama trained here on the generated story language."""

    d_model: int = Field(128, gt=0, description="width of the residual stream")
    d_mlp: int = Field(352, gt=0, description="width of the feed-forward layers")
    n_layers: int = Field(3, gt=0, description="decoder layers")
    n_heads: int = Field(4, gt=0, description="query heads")
    n_kv_heads: int = Field(2, gt=0, description="key and value heads")
    context: int = Field(64, gt=8, description="longest sequence in tokens")
    steps: int = Field(600, gt=0, description="training steps")
    batch: int = Field(32, gt=0, description="sequences of a training step")
    lr: float = Field(3e-3, gt=0, description="peak learning rate of Adam, cosine schedule")


class CalibrationText(Config):
    """What the model reads while its inputs are measured: published prunings use 128 sequences of 2,048 tokens."""

    text: CorpusName = Field(
        "", description="corpus name or text file; empty: stories, or tinystories for a trained model"
    )
    sequences: int = Field(64, gt=0, description="token windows that inputs are measured on")
    length: int = Field(0, ge=0, description="tokens of a window; 0 takes the model's context, at most 128")


class Pruning(Config):
    """What every study of masks begins with."""

    model: Annotated[str, NamesModel("lm", words=("stories",))] = Field(
        "stories",
        description="'stories' trains one here; a folder or file, run:, hub:, or a name in the data folder",
    )
    story: StoryModel = Field(
        default_factory=lambda: StoryModel.model_validate({}), description="the model that 'stories' trains"
    )
    method: Method = Field("wanda", description="magnitude, wanda, wanda_variant, ria or sparsegpt")
    sparsity: float = Field(0.5, gt=0, lt=1, description="share of weights that go")
    pattern: str = Field(
        "", pattern=r"^(\d+:\d+)?$", description="n:m, such as 2:4, instead of a free choice of the share"
    )
    swap: int = Field(0, ge=0, description="most exchanges per row of the swap refinement, 0 for none")
    calibration: CalibrationText = Field(
        default_factory=lambda: CalibrationText.model_validate({}),
        description="the text that inputs are measured on",
    )
    settings: dict[Method, dict[str, float]] = Field(
        {}, description="numbers of the methods themselves, such as {sparsegpt: {damping: 0.1}}"
    )
    seed: int = Field(0, ge=0, description="seed of every random draw")

    @model_validator(mode="after")
    def _know_settings(self) -> "Pruning":
        """Each method says what it can be set to; its file is loaded only where something is set."""
        for method, numbers in self.settings.items():
            try:
                scan_member(SCORES, bare_method(method))(numbers)
            except UsageError as error:
                raise ValueError(error.message) from None
        return self

    def numbers_of(self, method: str) -> dict[str, float]:
        """What is set for this method, under either spelling of its name."""
        return {
            key: number
            for name, numbers in self.settings.items()
            if bare_method(name) == bare_method(method)
            for key, number in numbers.items()
        }


class OneMask(Pruning):
    """A study of one matrix."""

    masks: str = Field("", description="packed masks or a pruned matrix in a file, instead of pruning here")
    layer: int = Field(1, ge=0, description="decoder layer, from 0")
    component: str = Field("mlp.down_proj", description="map inside the layer, such as self_attn.q_proj")
    axis: Literal["columns", "rows"] = Field(
        "columns", description="features: input channels, or output channels"
    )


class Nulls(Config):
    """How many masks a test draws. p is never below 1 / (draws + 1), so few draws cannot show much."""

    draws: int = Field(99, ge=1, description="masks drawn from each null model")
    most_draws: int = Field(
        9999, ge=1, description="draws for tests that are beyond nearly all of these; `draws` for no more"
    )
    trades: int = Field(10, ge=5, description="trades of every row on the way to a same-margins draw")
    reprune: bool = Field(True, description="also shuffle the weights inside rows and prune again")


class SingleConfig(OneMask):
    """The neighborhood of one feature."""

    feature: int | None = Field(
        None, ge=0, description="the feature whose neighbors are clustered; none: random"
    )
    n_features: int = Field(128, gt=1, description="nearest features to take")
    n_clusters: int = Field(8, gt=1, description="clusters of k-means")
    seed: int = Field(42, ge=0, description="seed of the feature, of k-means and of the nulls")
    nulls: Nulls = Field(
        default_factory=lambda: Nulls.model_validate({}), description="what the numbers are compared with"
    )


class RepeatConfig(OneMask):
    """Neighborhoods of several random features, as the original's second script."""

    n_executions: int = Field(10, gt=1, description="random features whose neighborhoods are clustered")
    n_features: int = Field(128, gt=1, description="nearest features to take")
    n_clusters: int = Field(8, gt=1, description="clusters of k-means")
    nulls: Nulls = Field(
        default_factory=lambda: Nulls.model_validate({}), description="what the numbers are compared with"
    )


class ClustersConfig(OneMask):
    """Neighborhoods of several features, clustered in several numbers of clusters."""

    seeds: int = Field(10, gt=0, description="reference features, each the center of one neighborhood")
    n_similar: int = Field(128, gt=1, description="features of a neighborhood, its center included")
    k_values: list[int] = Field([4, 8, 16], min_length=1, description="numbers of clusters")
    clustering: Literal["kmeans", "ward", "average"] = Field("kmeans", description="how clusters are made")
    n_init: int = Field(10, gt=0, description="starts of k-means")
    nulls: Nulls = Field(
        default_factory=lambda: Nulls.model_validate({}), description="what the numbers are compared with"
    )
    resamples: int = Field(
        4, ge=1, description="calibration sets the whole study is repeated on, for the intervals"
    )
    bootstraps: int = Field(
        10, ge=1, description="resamples of positions that clusters should come back from"
    )
    null_pairs: int = Field(10, ge=1, description="pairs of same-margins masks that clusters are compared in")
    pictures: bool = Field(True, description="draw the four pictures of every seed and k")
    output_dir: str = Field("", description="also copy pictures and metrics_summary.json into this folder")


class ReportConfig(Pruning):
    """Methods, layers, components and models in one table."""

    methods: list[Method] = Field(
        ["wanda", "sparsegpt", "magnitude"], min_length=1, description="methods to compare"
    )
    layers: list[int] = Field([], description="decoder layers; empty for all")
    components: list[str] = Field([], description="maps inside the layers; empty for all")
    references: list[str] = Field([], description="further trained models, by reference")
    masks: str = Field(
        "",
        description="masks of one's own instead: a file of matrices (.npy, .pt, masks.safetensors) or a folder",
    )
    n_executions: int = Field(10, gt=0, description="random neighborhoods behind the cluster columns")
    n_features: int = Field(64, gt=1, description="features of a neighborhood")
    n_clusters: int = Field(8, gt=1, description="clusters of a neighborhood")
    nulls: Nulls = Field(
        Nulls.model_validate({"reprune": False}), description="what the numbers are compared with"
    )


class PublishedConfig(Pruning):
    """The original's own metrics, re-enacted."""

    layer: int = Field(1, ge=0, description="decoder layer of the real masks")
    component: str = Field("mlp.down_proj", description="map of the real masks")
    n_similar: int = Field(128, gt=1, description="features of a neighborhood")
    k_values: list[int] = Field([4, 8, 16], min_length=1, description="numbers of clusters")
    seeds: int = Field(10, gt=0, description="reference features")
    outputs: int = Field(1024, gt=8, description="rows of the structureless masks")
    inputs: int = Field(2048, gt=8, description="columns of the structureless masks")
    draws: int = Field(99, ge=1, description="same-margins masks behind the honest verdict")


class QualityConfig(Pruning):
    """What every method costs in loss."""

    methods: list[Method] = Field(
        [
            f"{method}{swaps}"
            for method in ("magnitude", "wanda", "ria", "sparsegpt")
            for swaps in ("", "+swaps")
        ],
        min_length=1,
        description="methods; '+swaps' adds the swap refinement, '+owl' the layer allocation",
    )
    levels: list[Level] = Field(
        ["50%", "60%", "70%", "2:4", "4:8"], min_length=1, description="shares in percent, or n:m"
    )
    draws: int = Field(5, ge=1, description="independent calibration sets, for the intervals")
    swaps: int = Field(30, gt=0, description="most exchanges per row where a method says '+swaps'")
    windows: int = Field(128, gt=0, description="evaluation windows")
    epochs: int = Field(
        4, gt=0, description="passes over the calibration rows of the repairs that take gradient steps"
    )
    learning_rate: float = Field(
        3e-3, gt=0, description="peak rate of those steps; 3e-4 for models of 100 million"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of those steps and of the passes beside the dense model; bfloat16 is cheaper"
    )
    evaluations: int = Field(200, gt=1, description="models that '+evolution' may try")

    @model_validator(mode="after")
    def _check_repeats(self) -> "QualityConfig":
        """A cell of the table is one method at one level."""
        for field, cells in (("methods", self.methods), ("levels", self.levels)):
            if repeated := [cell for i, cell in enumerate(cells) if cell in cells[:i]]:
                raise ValueError(f"{field} has '{repeated[0]}' twice")
        return self


class SmallerConfig(Pruning):
    """A quarter removed for good, beside a random quarter."""

    share: float = Field(0.25, ge=0, lt=1, description="share of MLP neurons and of groups of heads that go")
    remove_layers: int = Field(0, ge=0, description="whole blocks that go")
    heads: bool = Field(True, description="whether groups of heads go as well")
    draws: int = Field(5, ge=1, description="calibration sets, for the intervals")
    windows: int = Field(64, gt=0, description="evaluation windows")
    turns: int = Field(5, gt=1, description="timed forward passes of both models, in turns")


class ComparisonConfig(OneMask):
    """Masks of several methods beside each other."""

    methods: list[Method] = Field(
        ["wanda", "sparsegpt", "magnitude", "ria"], min_length=2, description="methods"
    )
    resamples: int = Field(4, ge=2, description="calibration sets, for the noise between masks of one method")
    sparsities: list[float] = Field(
        [0.3, 0.7], description="other shares that the first method is compared at"
    )


class AttributionConfig(Pruning):
    """What in a matrix explains its mask."""

    methods: list[Method] = Field(
        ["wanda", "sparsegpt", "magnitude", "ria"], min_length=1, description="methods"
    )
    layer: int = Field(1, ge=0, description="decoder layer, from 0")
    resamples: int = Field(4, ge=2, description="calibration sets behind the per-weight keep probability")
    nulls: Nulls = Field(
        default_factory=lambda: Nulls.model_validate({}), description="what the numbers are compared with"
    )


class MaskTruthConfig(Config):
    """Programs hidden in wider networks, and pruners that should find them."""

    seed: int = Field(0, ge=0, description="seed of the added weights and of the null")
    programs: list[str] = Field(
        ["hist", "reverse", "sort", "sort_unique", "count_less_freq", "neighbours", "detect_pattern"],
        min_length=1,
        description="compiled programs of the data folder that choose among values",
    )
    factor: int = Field(2, gt=1, description="how many times as wide the hiding network is")
    inputs: int = Field(128, gt=1, description="inputs of full length to calibrate and to answer on")
    methods: list[Method] = Field(
        ["magnitude", "wanda", "wanda_variant", "ria", "sparsegpt", "wanda+swaps", "wanda+admm"],
        min_length=1,
        description="methods; +swaps and +admm change the mask",
    )
    slacks: list[float] = Field(
        [1.0, 2.0], min_length=1, description="weights kept, in times the needed ones"
    )
    swaps: int = Field(30, gt=0, description="most exchanges per row where a method says '+swaps'")
    epochs: int = Field(20, gt=0, description="passes over the inputs where a method says '+admm'")
    draws: int = Field(5, gt=0, description="random masks of the null")


CONFIGS = FoundStudies("digsite.prune", "settings")
