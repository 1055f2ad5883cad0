"""Config of the hostile method."""

from typing import Literal

from digsite.config import Config, Field


class HostileConfig(Config):
    how: Literal["well", "speak", "answer", "vanish", "leave", "kill", "deep", "fork", "surrogate"] = Field(
        "well", description="what the method does to the process that runs it"
    )
    seed: int = Field(0, description="seed of nothing")


CONFIGS = {"hostile": HostileConfig}
