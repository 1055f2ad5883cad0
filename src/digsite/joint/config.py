"""Settings of the studies of several rooms; loads without torch."""

from typing import Annotated

from pydantic import AfterValidator

from digsite.config import Config, Field
from digsite.graft.config import TaskConfig, known_method

GraftMethod = Annotated[str, AfterValidator(known_method)]


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


CONFIGS: dict[str, type[Config]] = {"survival": SurvivalConfig}
