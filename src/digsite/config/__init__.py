"""Strict configs: pydantic models, YAML, dotted overrides, the origin of each value."""

from digsite.config.model import Config, Field

__all__ = ["Config", "Field"]
