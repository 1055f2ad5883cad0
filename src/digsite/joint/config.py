"""Settings of the studies of several rooms; loads without torch."""

from typing import Annotated

from digsite.base.families import FoundStudies
from digsite.config import Config, Field
from digsite.config.model import CorpusName, ImageSetName, NamesModel, named_member
from digsite.graft.config import Method as GraftMethod
from digsite.graft.config import TaskConfig
from digsite.prune.config import Method


class SurvivalConfig(TaskConfig):
    """Graft, remove, compare; graft into pruned and quantized receivers; prune what was grafted."""

    methods: list[GraftMethod] = Field(
        ["distill", "union rule=guarded", "ridge_all data=au n_widened=6000 rule=guarded"],
        description="methods with options",
    )
    sparsities: list[float] = Field(
        [0.0, 0.5, 0.8, 0.9], description="shares of weights that are pruned away"
    )
    bits: list[int] = Field([8, 4], description="bits that weights are rounded to")


class GraftProgramConfig(Config):
    """Steps of compiled programs moved into transformers that were trained on another task."""

    seed: int = Field(
        1, ge=0, description="seed of receivers, halves and nulls; sizes were settled on seed 0"
    )
    seeds: int = Field(5, ge=1, description="receivers of every width, that intervals are over")
    programs: list[str] = Field(
        ["hist", "neighbours", "frac_prevs"],
        min_length=1,
        description="names of compiled programs; these three are always there, others with DIGSITE_DATA",
    )
    widths: list[Annotated[int, Field(ge=2)]] = Field(
        [8, 16, 32], min_length=1, description="receivers' streams"
    )
    heads: int = Field(2, ge=1, description="the receivers' heads, each of the program's key size")
    neurons: int = Field(32, ge=1, description="the receivers' neurons in a block")
    steps: int = Field(500, ge=1, description="training steps of a receiver")
    batch: int = Field(128, ge=1, description="inputs of a step")
    lr: float = Field(3e-3, gt=0, description="peak learning rate")


StoredModel = Annotated[str, NamesModel(folder="lm")]
Block = Annotated[str, named_member("question", "digsite.joint.judge.blocks")]


class DigConfig(Config):
    """Everything that can be said about one model, each statement beside what it is compared with."""

    seed: int = Field(0, ge=0, description="seed of what is drawn: noise, masks, windows of text")
    model: StoredModel = Field(description="reference of the model: a file or folder, hub:, py:, zoo:, run:")
    text: CorpusName = Field("", description="a text file or a corpus by name, for models of text")
    data: str = Field("", description="an image set, arrays or py:module:name, for models of anything else")
    relatives: str = Field("", description="a folder of networks that the model may descend from")
    seconds: float = Field(300.0, gt=0, description="processor time for all questions together")
    steps: int = Field(
        0,
        ge=0,
        description="steps of the decomposition; 0: as many as the time allows, which no two runs share",
    )
    skip: list[Block] = Field([], description="questions that are not asked")


class BackdoorConfig(Config):
    """Pairs of networks, one of each pair poisoned: which are, with which class, and what is left when the links are cut."""

    seed: int = Field(11, ge=0, description="seed of images, triggers and dreams")
    pairs: int = Field(8, ge=1, description="clean and poisoned networks of one seed, for each recipe")
    recipes: list[Annotated[str, named_member("recipe", "digsite.read.subjects.planted:PLANS")]] = Field(
        ["tanh-adamw", "relu-rmsprop", "gelu-momentum", "no-hidden-adam"],
        min_length=1,
        description="recipes that are judged; search, cut and alarm were chosen on relu-adam and relu-momentum",
    )
    sets: list[ImageSetName] = Field(
        ["mnist", "fashion_mnist", "usps"], min_length=1, description="image sets put side by side"
    )
    side: int = Field(16, ge=8, description="side that all images are brought to")
    per_set: int = Field(3000, ge=50, description="training images of each set")
    steps_share: float = Field(1.0, gt=0, le=1, description="share of each recipe's training steps")
    search_steps: int = Field(80, ge=1, description="steps of the search for a patch")
    copies: int = Field(10, ge=1, description="dreams of each class")
    alarm: float = Field(
        0.55, gt=0, description="smallest patch over the second smallest, below which there is an alarm"
    )
    works: float = Field(0.5, ge=0, le=1, description="success from which on a planted trigger counts")
    clean_images: int = Field(600, ge=10, description="clean images that fine-pruning is given")
    repair_steps: int = Field(200, ge=0, description="steps of its fine-tuning")


class AddingConfig(Config):
    """Networks that learn to add, and how the map of each is split into parts."""

    seed: int = Field(0, ge=0, description="seed of split and networks")
    networks: int = Field(20, ge=1, description="networks, which differ by seed and in turn by weight decay")
    modulus: int = Field(31, gt=4, description="p of networks that add modulo p")
    width: int = Field(48, gt=3, description="their hidden width")
    steps: int = Field(1000, gt=0, description="training steps")
    every: int = Field(10, gt=0, description="training steps between checkpoints")
    share: float = Field(0.7, gt=0, lt=1, description="share of the pairs that is learned from")
    decays: list[float] = Field([1.0, 3.0], min_length=1, description="weight decays, in turn")
    energy: float = Field(0.97, gt=0, le=1, description="share of the map that its parts hold")


class GrowthConfig(AddingConfig):
    """Networks that learn to add, their parts at the end, and the same parts at every checkpoint before it."""

    seed: int = Field(
        7, ge=0, description="seed of split and networks; 'energy' and 'inside' were chosen on other networks"
    )
    inside: float = Field(
        0.2, gt=0, le=1, description="share of its climb by which a part belongs to the accuracy's rise"
    )
    draws: int = Field(20, ge=1, description="random directions in place of the parts, for the order's null")
    cuts: int = Field(5, ge=1, description="random choices of what is switched off")


class PartSurvivalConfig(AddingConfig):
    """Networks that learn to add, and their parts after the networks were pruned, rounded, merged, renumbered or trained anew."""

    seed: int = Field(
        11,
        ge=0,
        description="seed of split and networks; changes and measures were chosen on those of seed 3",
    )
    shares: list[float] = Field(
        [0.3, 0.5, 0.7, 0.8, 0.9], min_length=1, description="shares of weights that are pruned away"
    )
    bits: list[int] = Field([8, 4, 3, 2], description="bits that rows are rounded to")
    leave: float = Field(
        0.5, gt=0, lt=1, description="share of the training after which the sibling goes its own way"
    )
    alive: float = Field(
        0.7, gt=0, lt=1, description="cosine of its effect from which on a part counts as alive"
    )


class PrunePartsConfig(Config):
    """Programs hidden in wider networks: parts that are kept, beside pruners of single weights, at the exact size."""

    seed: int = Field(1, ge=0, description="seed of the added weights and of the null")
    programs: list[str] = Field(
        [
            "reverse",
            "sort",
            "count_less_freq",
            "detect_pattern",
            "length",
            "random_07",
            "random_09",
            "random_15",
        ],
        min_length=1,
        description="compiled programs that choose; parts were chosen on hist, neighbours and sort_unique",
    )
    factor: int = Field(2, gt=1, description="how many times as wide the hiding network is")
    inputs: int = Field(64, gt=1, description="inputs of full length to calibrate and to answer on")
    methods: list[Method] = Field(
        ["magnitude", "wanda", "wanda+swaps", "sparsegpt", "wanda+admm"],
        min_length=1,
        description="pruners of weights",
    )
    swaps: int = Field(30, gt=0, description="most exchanges per row where a method says '+swaps'")
    epochs: int = Field(20, gt=0, description="passes over the inputs where a method says '+admm'")
    draws: int = Field(5, gt=0, description="random masks of the null")
    model: StoredModel = Field(
        "stories260K",
        description="a story model whose blocks are pruned too, where it is at hand; '' for none",
    )
    blocks: list[int] = Field(
        [0, 1, 2, 3, 4], description="blocks of it; ways were chosen on another model's"
    )
    levels: list[float] = Field(
        [0.2, 0.35, 0.5, 0.65, 0.8], min_length=2, description="shares of a block's weights that masks prune"
    )
    windows: int = Field(
        32, gt=1, description="windows of 64 tokens to calibrate on, and as many to judge on"
    )
    asked: int = Field(8, gt=0, description="of them, those on which each part is switched off")


class SiblingsConfig(Config):
    """Networks of joined image sets that are trained on afterwards."""

    seed: int = Field(0, ge=0, description="seed of networks and images")
    sets: list[ImageSetName] = Field(
        ["mnist", "fashion_mnist", "usps"], min_length=1, description="image sets put side by side"
    )
    side: int = Field(12, ge=4, description="side that all images are brought to")
    per_set: int = Field(1500, ge=50, description="training images of each set")
    hidden: list[int] = Field([64, 48], min_length=1, description="hidden widths")
    steps: int = Field(800, ge=1, description="training steps of the base")
    tuning: int = Field(300, ge=1, description="training steps of the sibling")


class DifferencesConfig(SiblingsConfig):
    """Networks, and siblings fine-tuned with a class, a trigger or a changed name planted."""

    seed: int = Field(
        5,
        ge=0,
        description="seed of networks and plants; the way of telling was chosen on those of seeds 1 and 3",
    )
    plants: int = Field(60, ge=1, description="siblings, the three kinds in turn")
    parts: int = Field(10, ge=3, description="new parts at most")
    draws: int = Field(20, ge=1, description="random directions for the null")


class FactsConfig(Config):
    """A story model, and siblings that were trained on with one word of the stories called by another."""

    seed: int = Field(
        8, ge=0, description="seed of words, windows and training; the map was chosen on words of seed 1"
    )
    model: StoredModel = Field("stories260K", description="the story model, by name or reference")
    text: CorpusName = Field("tinystories", description="the stories")
    facts: int = Field(
        16, ge=1, description="siblings, each with a pair of words drawn from those that are one token"
    )
    steps: int = Field(60, ge=1, description="training steps of a sibling")
    batch: int = Field(8, ge=1, description="windows of a step")
    length: int = Field(48, ge=8, description="tokens of a window")
    windows: int = Field(600, ge=16, description="windows of the stories that siblings are trained on")
    least: float = Field(
        0.001,
        ge=0,
        lt=1,
        description="share of the stories' tokens from which on a token counts among the answers",
    )
    parts: int = Field(10, ge=3, description="new parts at most")
    draws: int = Field(20, ge=1, description="random directions for the null")


class UnlearningConfig(SiblingsConfig):
    """Networks of which each is to forget one class, by ways whose depth is told by how soon the class is learned again."""

    seed: int = Field(
        10,
        ge=0,
        description="seed of networks and classes; how parts are chosen was settled on those of seeds 2 and 9",
    )
    networks: int = Field(30, ge=1, description="networks, each with a class that it is to forget")
    held_out: int = Field(1000, ge=50, description="test images of each set")
    most: int = Field(64, ge=1, description="parts that are switched off at most")
    care: float = Field(
        10.0,
        ge=0,
        description="how much a rise of the others' loss counts against one of the class's when parts are ranked",
    )
    forgotten: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="share of the class's training images still known, at which it counts as forgotten",
    )
    relearning: int = Field(150, ge=1, description="steps of training with all classes again")
    every: int = Field(1, ge=1, description="steps between looks at what is known again")


class AnswerConfig(Config):
    """A verb's answer about a model of one's own, kept as a run."""

    seed: int = Field(0, ge=0, description="nothing is drawn: the answer is there before the run")
    verb: str = Field(description="the verb that was asked")
    asked: list[str] = Field([], description="what it was asked about: models, folders, files")


CONFIGS = FoundStudies("digsite.joint", "settings")


class ProgramsConfig(Config):
    """Compiled transformers in a hidden basis, and what may have happened to them before they are read."""

    seed: int = Field(0, ge=0, description="seed of rotations, padding and noise")
    programs: list[str] = Field([], description="compiled programs by name; none named: all that are at hand")
    rotations: int = Field(3, ge=1, description="hidden bases of each program")
    pad: int = Field(8, ge=1, description="directions and neurons that cannot matter")
    noise: list[float] = Field(
        [1e-4, 1e-2, 0.3], description="noise on every weight, as a share of its matrix's spread"
    )
