"""What `save_model` or a zoo wrote: the config is in the metadata, the names are ours."""

from typing import Any

from torch import Tensor

from digsite.config import Config
from digsite.models.config import MODELS, parse
from digsite.weights import WeightBundle

KEY = "digsite.model"


def matches(bundle: WeightBundle) -> bool:
    return _config(bundle) is not None


def translate(bundle: WeightBundle) -> tuple[Config, dict[str, Tensor]]:
    config = _config(bundle)
    assert config is not None
    return parse(config), bundle.state_dict()


def _config(bundle: WeightBundle) -> dict[str, Any] | None:
    """Under our key in a file, under `model` in a zoo."""
    found = bundle.meta.get(KEY, bundle.meta.get("model"))
    return found if isinstance(found, dict) and found.get("kind") in MODELS else None
