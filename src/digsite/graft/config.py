"""Configs of the graft room; nothing here loads torch."""

from math import isfinite
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, field_validator, model_validator

from digsite.base import families
from digsite.base.errors import name_nearest
from digsite.base.families import FoundStudies
from digsite.config import Config, Field
from digsite.config.model import ImageSetName, named_member

METHODS = "digsite.graft.core.methods"
SETS = {"@surgery": "surgery", "@nulls": "null", "@honest": "honest"}  # what a study may write for a list
MLPS = {
    "simple": [64, 32],
    "mega": [512, 256, 128, 64],
    "wide": [512, 128],
    "deep": [256, 256, 128],
    "super_wide": [2048],
    "very_deep": [64] * 6,
}
CNNS = {  # channels, then fully connected widths
    "cnn_base": ([32, 64], [128]),
    "cnn_wide": ([64, 128], [256]),
    "cnn_deep": ([32, 64, 64], [128, 64]),
    "cnn_bottleneck": ([32, 64], [64]),
    "cnn_pyramid": ([32, 64], [256, 128]),
}
NETWORKS = (*MLPS, *CNNS, "transformer")


def describe_networks() -> dict[str, str]:
    """Every network that a study can pair, with its hidden sizes in words."""
    words = {name: f"MLP with hidden widths {', '.join(map(str, sizes))}" for name, sizes in MLPS.items()}
    for name, (channels, widths) in CNNS.items():
        shown = f"channels {', '.join(map(str, channels))}, then {', '.join(map(str, widths))} units"
        words[name] = f"3x3 convolutions with {shown}"
    return words | {"transformer": "a small vision transformer"}


Network = Annotated[str, named_member("network", NETWORKS)]


def list_group(group: str) -> dict[str, list[str]]:
    """The published names of a set ('surgery', 'injection', 'honest', 'null'), each with the settings that the set tries.

    The members are asked, so this imports them (and torch); names alone are read from the files.
    """
    members = families.scan_family(METHODS).items()
    return {name: list(member.STUDIED) for name, member in members if group == member.GROUP}


def list_texts(group: str) -> list[str]:
    """The methods of a set with their settings, as a study names them: "ridge_all data=s"."""
    return [f"{name} {text}".strip() for name, texts in list_group(group).items() for text in texts]


def check_method(text: str) -> str:
    """The text as it is, if its first word is a graft method."""
    name, known = text.split()[0] if text.split() else text, families.list_members(METHODS)
    if name not in known:
        raise ValueError(f"there is no graft method '{name}'. {name_nearest(name, known)}")
    return text


Method = Annotated[str, AfterValidator(check_method)]  # with settings: "ridge_all data=au"


def check_classes(old: list[int], shared: list[int], new: list[int]) -> None:
    """What is moved is new to the receiver, and what both know is old to it."""
    if set(new) & set(old):
        raise ValueError(f"class {min(set(new) & set(old))} is both old and new")
    if stray := set(shared) - set(old):
        raise ValueError(f"shared class {min(stray)} is not among the old classes")


class TaskConfig(Config):
    """Who knows what, on which images, and how the networks are trained."""

    seed: int = Field(0, ge=0, description="seed of everything random")
    seeds: int = Field(1, gt=0, description="pairs, each freshly trained, that results are averaged over")
    data: ImageSetName = Field("digits", description="image set: digits, mnist, fashion_mnist, ...")
    old: list[int] = Field([0, 1, 2, 3], min_length=1, description="classes that the receiver knows")
    shared: list[int] = Field([2, 3], min_length=1, description="classes that both know")
    new: list[int] = Field([4], min_length=1, description="classes that the donor alone knows and are moved")
    foreign: list[int] = Field([5], description="classes that the donor alone knows and are not moved")
    pairs: list[tuple[Network, Network]] = Field(
        [("simple", "simple")], min_length=1, description="receiver and donor by network name"
    )
    epochs: float = Field(8, gt=0, description="training passes over a network's own images")
    batch: int = Field(256, gt=0, description="images per training step")
    lr: float = Field(1e-3, gt=0, description="learning rate of Adam")
    weight_decay: float = Field(1e-4, ge=0, description="weight decay of Adam")
    least_steps: int = Field(400, gt=0, description="training steps at least, however few the images")
    rate: float = Field(0.02, gt=0, lt=1, description="share of old images called new after calibration")
    held: float = Field(
        0.16, gt=0, lt=0.5, description="share of every class kept for calibration and validation"
    )
    max_train: int = Field(0, ge=0, description="at most so many training images per class; 0 for all")
    max_test: int = Field(0, ge=0, description="at most so many test images per class; 0 for all")
    workers: int = Field(2, ge=1, description="processes; results do not depend on it")

    @model_validator(mode="after")
    def _classes_make_sense(self) -> "TaskConfig":
        check_classes(self.old, self.shared, self.new)
        return self


class GridConfig(Config):
    """One method and the settings to choose from."""

    method: Method = Field(description="method name")
    options: list[str] = Field(min_length=1, description='option sets, such as "width=32 sparsity=0.05"')


class Choice(Config):
    """Another data set with other classes, for the same question."""

    data: ImageSetName = Field(description="image set")
    old: list[int] = Field(min_length=1, description="classes that the receiver knows")
    shared: list[int] = Field(min_length=1, description="classes that both know")
    new: list[int] = Field(min_length=1, description="classes that are moved")
    foreign: list[int] = Field(description="classes that the donor alone knows and are not moved")

    @model_validator(mode="after")
    def _classes_make_sense(self) -> "Choice":
        check_classes(self.old, self.shared, self.new)
        return self

    @property
    def title(self) -> str:
        """`mnist_4`: the set and what is moved."""
        return f"{self.data}_{'_'.join(map(str, self.new))}"


class CompareConfig(TaskConfig):
    """Methods side by side, each with its noise ablation, beside the nulls."""

    choices: list[Choice] = Field(
        [], description="data sets and classes, one after the other, in place of the one that is set above"
    )
    methods: list[Method] = Field(
        ["union", "distill"], description='methods with options, such as "ridge_all data=au"'
    )
    grids: list[GridConfig] = Field(
        [], description="methods with settings; the best on the validation split is reported on the test set"
    )
    asks: Literal["blind", "surgery", "injection", "any"] = Field(
        "blind", description="which methods the verdict is about: without new-class images, a family, or all"
    )
    select_seeds: int = Field(1, gt=0, description="couples whose validation split chooses among settings")
    select_pairs: int = Field(
        0,
        ge=0,
        description="first pairs of networks whose settings are taken for all others; 0: each pair chooses its own",
    )
    ceiling: bool = Field(True, description="map at which layer the new class can still be read")
    geometry: str = Field("distill", description="the method whose feature space is drawn before and after")

    @model_validator(mode="after")
    def _choices_make_sense(self) -> "CompareConfig":
        """None comes twice."""
        titles = [choice.title for choice in self.choices]
        if twice := [title for i, title in enumerate(titles) if title in titles[:i]]:
            raise ValueError(f"the choice '{twice[0]}' comes twice")
        return self

    def list_tasks(self) -> list[tuple[str, "CompareConfig"]]:
        """A title and the config of every choice; of one task alone the title is empty."""
        plain = self.model_dump() | {"choices": []}
        return [
            (choice.title, CompareConfig.model_validate(plain | choice.model_dump()))
            for choice in self.choices
        ] or [("", self)]

    @field_validator("methods", mode="before")
    @classmethod
    def _expand_sets(cls, value: Any) -> Any:
        """`@surgery`, `@nulls` and `@honest` stand for lists."""
        if not isinstance(value, list):
            return value
        names = [entry if isinstance(entry, str) and entry in SETS else None for entry in value]
        return [m for name, entry in zip(names, value) for m in (list_texts(SETS[name]) if name else [entry])]

    @field_validator("grids", mode="before")
    @classmethod
    def _expand_framework(cls, value: Any) -> Any:
        """`@framework` stands for the nine methods with the original's grids; a method that has one of its own beside it keeps that."""
        if not isinstance(value, list):
            return value
        own = [entry.get("method") for entry in value if isinstance(entry, dict)]
        nine = (
            [{"method": k, "options": v} for k, v in list_group("injection").items() if k not in own]
            if "@framework" in value
            else []
        )
        return [g for entry in value for g in (nine if entry == "@framework" else [entry])]


class AuditConfig(TaskConfig):
    """The published protocol beside the honest one."""


class AlignmentConfig(TaskConfig):
    """How well two feature spaces align, and whether that says anything about a transfer."""

    n_images: int = Field(2042, gt=10, description="images of each kind, as many as in the published runs")
    draws: int = Field(20, gt=0, description="wrong pairings of images behind the null")

    @field_validator("new")
    @classmethod
    def _one_class(cls, value: list[int]) -> list[int]:
        if len(value) != 1:
            raise ValueError("the analysis places one class; give new=[4]")
        return value


class ForensicsConfig(TaskConfig):
    """Grafts planted and looked for, from the weights alone."""

    share: float = Field(
        1 / 16, gt=0, lt=0.5, description="share of the rows of every layer that is replaced"
    )
    tuned_epochs: float = Field(2, ge=0, description="passes of fine-tuning after planting")
    tuned_lr: float = Field(1e-4, gt=0, description="learning rate of that fine-tuning")


class DictionariesConfig(TaskConfig):
    """Sparse autoencoders of every kind on the receiver's penultimate features, as one ensemble."""

    widths: list[int] = Field([32, 64], min_length=1, description="codes")
    penalties: list[float] = Field([0.02, 0.1], min_length=1, description="sparsity of penalized kinds")
    counts: list[int] = Field([4, 8], min_length=1, description="open codes of the top-k kinds")
    members: int = Field(2, gt=0, description="seeds of each")
    steps: int = Field(300, gt=0, description="gradient steps")


class StoriesConfig(Config):
    """Small story models trained here, several seeds at once."""

    seed: int = Field(0, ge=0, description="seed of everything random")
    seeds: int = Field(5, gt=0, description="models of each kind, that intervals are over")
    d_model: int = Field(64, gt=0, description="width of the stream")
    d_mlp: int = Field(128, gt=0, description="neurons of a gated MLP")
    n_layers: int = Field(2, gt=0, description="blocks")
    n_heads: int = Field(4, gt=0, description="query heads")
    n_kv_heads: int = Field(
        2, gt=0, description="key and value heads, each shared by n_heads / n_kv_heads queries"
    )
    context: int = Field(36, gt=8, description="tokens of a window")
    batch: int = Field(32, gt=0, description="windows of a step")
    steps: int = Field(1500, gt=0, description="training steps of the start")
    lr: float = Field(3e-3, gt=0, description="peak learning rate of the start")
    tuned_steps: int = Field(600, gt=0, description="training steps of a skill")
    tuned_lr: float = Field(1e-3, gt=0, description="peak learning rate of a skill")
    held: int = Field(300, gt=0, description="fresh windows to score on")


MERGE_NUMBERS = ("scale", "keep", "drop", "shrink", "steps", "rate", "by_row", "seed")


def check_numbers(text: str) -> str:
    """Settings of a merge, 'scale=0.8 keep=0.5': each a known name and a finite number."""
    for word in text.split():
        name, _, number = word.partition("=")
        try:
            finite = isfinite(float(number))
        except ValueError:
            finite = False
        if name not in MERGE_NUMBERS or not finite:
            raise ValueError(f"'{word}' is no NAME=NUMBER; names are {', '.join(MERGE_NUMBERS)}")
    return text


MergeName = Annotated[str, named_member("merge", "digsite.graft.core.merges")]
MergeNumbers = Annotated[str, AfterValidator(check_numbers)]


class MergeStoriesConfig(StoriesConfig):
    """Two skills merged in every way."""

    methods: dict[MergeName, list[MergeNumbers]] = Field(
        {
            "average": [],
            "slerp": [],
            "task_arithmetic": [f"scale={s}" for s in (0.6, 0.8, 1.0, 1.2)],
            "ties": [f"scale={s} keep={k}" for s in (0.8, 1.0, 1.4) for k in (0.2, 0.5, 1.0)],
            "dare": [f"scale={s} drop={d}" for s in (0.8, 1.0, 1.2) for d in (0.2, 0.5)],
            "fisher": [],
            "regmean": [f"shrink={s}" for s in (0.7, 0.9, 1.0)],
            "imitation": ["by_row=0", "by_row=1"],
        },
        min_length=1,
        description="ways to merge, each with the settings to choose from on a member that is not reported",
    )
    own_words: bool = Field(
        False,
        description="each parent answers in words of its own, which start and other parent have no token for, and all "
        "three have their tokens in different orders",
    )
    evidence: int = Field(64, gt=0, description="windows that Fisher information and X^T X are measured on")
    null_draws: int = Field(3, gt=0, description="draws of every null")


class RebasinStoriesConfig(StoriesConfig):
    """Pairs of seeds brought into one basis, and a skill carried from one to the other."""

    matched: int = Field(128, gt=0, description="windows that models are matched on")
    scales: list[float] = Field(
        [0.5, 1.0, 1.5],
        min_length=1,
        description="of the carried change, chosen on a pair that is not reported",
    )


class DictionaryTruthConfig(Config):
    """Dictionaries on activations whose features are known."""

    seed: int = Field(0, ge=0, description="seed of everything random")
    seeds: int = Field(5, gt=0, description="worlds of each kind, that intervals are over")
    reseeds: int = Field(
        3, gt=0, description="trainings of every dictionary on one world: the reseeding noise"
    )
    worlds: list[Literal["independent", "correlated", "hierarchical", "two_models", "map"]] = Field(
        ["independent", "correlated", "hierarchical", "two_models", "map"],
        min_length=1,
        description="how features are on together; in the last two crosscoders and transcoders are trained",
    )
    n_features: int = Field(64, gt=3, description="true features")
    width: int = Field(32, gt=1, description="dimensions; fewer than features is superposition")
    mean_on: float = Field(4.0, gt=0, description="features that are on at a time, on average")
    codes: int = Field(64, gt=1, description="codes of every dictionary")
    samples: int = Field(16384, gt=1, description="activations to train on")
    held: int = Field(4096, gt=3, description="fresh activations to score on")
    steps: int = Field(1500, gt=0, description="gradient steps")
    batch: int = Field(256, gt=0, description="activations of a step")
    lr: float = Field(3e-3, gt=0, description="learning rate of Adam")
    knobs: dict[str, list[float]] = Field(
        {
            "l1": [0.3, 1.0, 2.0],
            "topk": [3, 4, 6],
            "batch_topk": [3, 4, 6],
            "jumprelu": [0.3, 1.0, 10.0],
            "bottleneck": [0.01, 0.1, 0.3],
            "crosscoder": [0.3, 1.0, 2.0],
        },
        description="sparsities of every kind to choose from, on a world that is not scored",
    )

    @field_validator("knobs")
    @classmethod
    def _every_kind_has_one(cls, value: dict[str, list[float]]) -> dict[str, list[float]]:
        known = families.list_members("digsite.graft.core.saes")
        for kind in (*value, *known):
            if kind not in known:
                raise ValueError(f"there is no kind of dictionary '{kind}'. {name_nearest(kind, known)}")
            if not value.get(kind):
                raise ValueError(f"the kind '{kind}' has no sparsity to choose from; give knobs.{kind}=[0.1]")
        return value


CONFIGS = FoundStudies("digsite.graft", "settings")
