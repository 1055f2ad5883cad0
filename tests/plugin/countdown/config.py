"""Config of the countdown."""

from digsite.config import Config, Field


class CountdownConfig(Config):
    steps: int = Field(5, ge=0, description="numbers to add up")
    seed: int = Field(0, description="seed of the numbers")
    sleep_s: float = Field(0.0, ge=0, description="pause per step")
    fail_at: int = Field(-1, description="step at which to fail")
    full_disk_at: int = Field(-1, description="step at which to pretend that the disk is full")


CONFIGS = {"countdown": CountdownConfig}
