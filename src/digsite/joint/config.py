"""Settings of the studies of several rooms; loads without torch."""

from typing import Annotated

from digsite.base.families import FoundStudies
from digsite.config import Config, Field
from digsite.config.members import named_member
from digsite.graft.config import Method as GraftMethod
from digsite.graft.config import TaskConfig


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


Block = Annotated[str, named_member("question", "digsite.joint.judge.blocks")]


class DigConfig(Config):
    """Everything that can be said about one model, each statement beside what it is compared with."""

    seed: int = Field(0, description="seed of what is drawn: noise, masks, windows of text")
    model: str = Field(description="reference of the model: a file or folder, hub:, py:, zoo:, run:")
    text: str = Field("", description="a text file or a corpus by name, for models of text")
    data: str = Field("", description="an image set, arrays or py:module:name, for models of anything else")
    relatives: str = Field("", description="a folder of networks that the model may descend from")
    seconds: float = Field(300.0, gt=0, description="processor time for all questions together")
    skip: list[Block] = Field([], description="questions that are not asked")


CONFIGS = FoundStudies("digsite.joint", "settings")
