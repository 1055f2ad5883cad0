"""Settings of the room: the original experiment, its audit, and the zoo of group networks."""

from typing import Annotated, Literal

from pydantic import model_validator

from digsite.base import families
from digsite.base.families import FoundStudies
from digsite.config import Config, Field
from digsite.config.model import ImageSetName, NamesData, named_member
from digsite.models.configs import Count
from digsite.zoo.config import Ascending, ZooConfig

READERS = "digsite.read.core.readers"
ALL = "all"
Asked = Annotated[str, named_member("task", "digsite.read.core.tasks:TASKS")]


class NwaConfig(Config):
    """The names from `num_models` to `model_path` are those of the original command line."""

    seed: int = Field(0, ge=0, description="seed of the zoo, the splits and the readers")
    seeds: int = Field(
        1, ge=1, description="zoos to make and read, at seed, seed + 1 ...; intervals span them"
    )
    zoo: Annotated[str, NamesData("digsite.zoo.store:locate_zoo")] = Field(
        "", description="an existing zoo to read, by path or name; empty makes one from `recipe`"
    )
    recipe: ZooConfig = Field(
        ZooConfig.model_validate({}), description="how the zoo is made; num_models and seed overrule it"
    )
    num_models: int = Field(100, ge=30, description="networks in the zoo that is made")
    val_split: float = Field(
        0.15, gt=0, lt=0.9, description="share of the networks that calibrates intervals"
    )
    test_split: float = Field(
        0.15, gt=0, lt=0.9, description="share of the networks that scores are measured on"
    )
    model_type: str = Field(ALL, description="reader to train: a reader's name, several with commas, or all")
    batch_size: int = Field(32, ge=1, description="networks per training step of the graph network")
    epochs: int = Field(50, ge=1, description="passes over the training networks")
    hidden_dim: int = Field(128, ge=1, description="width of the vector that a network is summarized in")
    num_layers: int = Field(3, ge=1, description="sweeps of messages, each forward and backward")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout in the graph network")
    lr: float = Field(1e-3, gt=0, description="learning rate of the graph network")
    weight_decay: float = Field(1e-5, ge=0, description="weight decay of the graph network")
    use_attention: bool = Field(False, description="attention between the neurons of a layer")
    both_attentions: bool = Field(
        False, description="train the graph network a second time, with attention the other way, and compare"
    )
    save_model: bool = Field(False, description="store the trained readers as artifacts")
    eval_only: bool = Field(False, description="train nothing: evaluate the reader at model_path")
    model_path: str = Field("", description="a saved reader, for eval_only")
    width: int = Field(32, ge=4, description="numbers per neuron in the graph network")
    edge_dropout: float = Field(0.1, ge=0, lt=1, description="share of weights hidden from the graph network")
    own: list[str] = Field([], description="tasks that share no graph network with others")
    nets: int = Field(1, ge=1, description="graph networks for each of those, their answers averaged")
    earlier: list[int] = Field(
        [], description="steps of earlier checkpoints whose accuracy every reader learns from too"
    )
    tasks: list[Asked] = Field(
        [], description="properties to read; empty reads all that the zoo has labels for"
    )
    asks: str = Field("test_accuracy", description="the property that the verdict is about")
    reader: str = Field(
        "", description="reader that the verdict is about; empty: the best on calibration networks"
    )
    resamples: int = Field(200, ge=20, description="bootstrap resamples behind every interval")
    other_splits: bool = Field(True, description="also report splits by recipe, dataset and architecture")

    @model_validator(mode="after")
    def _agrees(self) -> "NwaConfig":
        """Readers exist and the three shares leave something to learn from."""
        known = [*families.list_members(READERS), ALL]
        strange = [k for k in self.kinds_asked() if k not in known]
        if strange:
            raise ValueError(f"there is no reader '{strange[0]}': accepted is {', '.join(known)}")
        if self.val_split + self.test_split >= 1:
            raise ValueError(
                f"val_split={self.val_split} and test_split={self.test_split} leave nothing to train on"
            )
        if self.eval_only and not self.model_path:
            raise ValueError("eval_only needs model_path, the reader to evaluate")
        if self.model_path and not self.eval_only:
            raise ValueError("model_path has no effect without eval_only")
        return self

    def kinds_asked(self) -> list[str]:
        """Readers as they were written, commas taken apart."""
        return [k.strip() for k in self.model_type.split(",") if k.strip()]

    def kinds(self) -> list[str]:
        """Readers to train, the cheap baselines first; those of any shape have a study of their own, `transfer`."""
        asked = self.kinds_asked()
        bound = [k for k in families.list_members(READERS) if not families.read_tag(READERS, k, "ANY_SHAPE")]
        return bound if ALL in asked else asked


class PublishedConfig(Config):
    """The protocol as it was published: random labels, targets among the features, a graph over the batch."""

    seed: int = Field(0, ge=0, description="seed of everything")
    num_models: int = Field(60, ge=10, description="networks, where the original's reported run had 10")
    published_models: int = Field(10, ge=6, description="networks of the reported run")
    epochs: int = Field(5, ge=1, description="training epochs of the readers, as in the reported run")
    noise_epochs: Annotated[tuple[Count, Count], Ascending] = Field(
        (5, 19), description="fewest and most epochs of the networks on noise"
    )
    honest_models: int = Field(200, ge=30, description="networks of the honest run that is shown beside it")
    repeats: int = Field(20, ge=2, description="random splits of 7 / 1 / 2 networks")
    honest_steps: int = Field(300, ge=1, description="training steps of the honest networks")


class GroupZooConfig(Config):
    """The published networks that compose group elements: which of them, and from which share on an irrep counts."""

    seed: int = Field(0, ge=0, description="seed of the null and of the folds")
    folder: str = Field("group_zoo", description="folder of the collection inside of DIGSITE_DATA")
    shuffles: int = Field(20, ge=2, description="shuffled group tables behind the null")
    share: float = Field(0.05, gt=0, lt=1, description="share of weight from which an irrep counts as used")
    networks: Literal["all", "first"] = Field(
        "all", description="all networks, or the first of each file (tests)"
    )


class FamiliesConfig(Config):
    """Families of known descent: how many, of which recipes."""

    seed: int = Field(0, ge=0, description="seed of the edits and triggers")
    families: int = Field(2, ge=2, description="families of each recipe; every second root has a backdoor")
    recipes: list[Annotated[str, named_member("recipe", "digsite.read.subjects.family_recipes:PLANS")]] = (
        Field(
            [
                "mlp-mnist-relu-sgd",
                "mlp-usps-gelu-adam",
                "cnn-usps-relu-momentum",
                "cnn-fashion-tanh-adam",
                "transformer-usps-adamw",
            ],
            min_length=1,
            description="recipes that families are made of; those the rules were grown on are no test",
        )
    )
    share: float = Field(1.0, gt=0, le=1, description="share of each recipe's training steps")


class PlantedConfig(Config):
    """Clean and poisoned networks of many classes: which recipes calibrate, which are judged."""

    seed: int = Field(0, ge=0, description="seed of images and triggers")
    networks: int = Field(40, ge=4, description="networks of each recipe, half of them poisoned")
    sets: list[ImageSetName] = Field(
        ["mnist", "fashion_mnist", "usps"], min_length=1, description="image sets put side by side"
    )
    side: int = Field(10, ge=8, description="side that all images are brought to")
    per_set: int = Field(2000, ge=50, description="training images of each set")
    calibration: list[Annotated[str, named_member("recipe", "digsite.read.subjects.planted:PLANS")]] = Field(
        ["relu-adam", "relu-momentum", "no-hidden-adam"],
        description="recipes whose clean networks set the level; none takes the shipped one as it is",
    )
    recipes: list[Annotated[str, named_member("recipe", "digsite.read.subjects.planted:PLANS")]] = Field(
        ["tanh-adamw", "relu-rmsprop", "gelu-momentum"], description="recipes that are judged"
    )
    drawn: int = Field(0, ge=0, description="recipes drawn by rule that are judged as well")
    draw_seed: int = Field(0, description="seed of the drawn recipes: another one gives others")
    steps_share: float = Field(1.0, gt=0, le=1, description="share of each recipe's training steps")

    @model_validator(mode="after")
    def _judges_something(self) -> "PlantedConfig":
        """A study without a recipe would end without an answer."""
        if not self.recipes and not self.drawn:
            raise ValueError("recipes is empty and drawn is 0: nothing is left to judge")
        return self


class TransferConfig(Config):
    """Zoos of several families, a small one for each recipe; settings of the reader are fixed and not chosen here."""

    seed: int = Field(0, ge=0, description="seed of the zoos and of the splits")
    families: list[Annotated[str, named_member("family of networks", "digsite.zoo.families")]] = Field(
        ["mlp", "small_cnn", "transformer", "gru"], min_length=2, description="families of networks"
    )
    datasets: list[ImageSetName] = Field(
        ["digits", "usps"], min_length=1, description="image sets; each gives two recipes for each family"
    )
    members: int = Field(32, ge=6, description="networks of each recipe")
    architectures: int = Field(4, ge=1, description="shapes among the networks of a recipe")
    steps: int = Field(150, ge=1, description="training steps")
    train_size: int = Field(800, gt=0, description="training images")
    test_size: int = Field(400, gt=0, description="test images behind every accuracy")


CONFIGS = FoundStudies("digsite.read", "settings")
