"""Config of the showcase."""

from digsite.config import Config, Field


class ShowcaseConfig(Config):
    features: int = Field(5, ge=2, description="sparse features")
    hidden: int = Field(2, ge=1, description="dimensions to store them in")
    steps: int = Field(300, ge=1, description="training steps")
    lr: float = Field(0.01, gt=0, description="learning rate")
    mask_rows: int = Field(256, ge=8, description="rows of the mask")
    mask_columns: int = Field(700, ge=8, description="columns of the mask")
    seed: int = Field(0, description="seed of everything random")
    sleep_s: float = Field(0.0, ge=0, description="pause per step")
    label: str = Field("plain", description="free text")


CONFIGS = {"showcase": ShowcaseConfig}
