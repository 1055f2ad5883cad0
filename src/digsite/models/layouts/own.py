"""What `save_model` wrote: the config is in the metadata, the names are ours."""

from torch import Tensor

from digsite.config import Config
from digsite.models.config import parse
from digsite.weights import WeightBundle

KEY = "digsite.model"


def matches(bundle: WeightBundle) -> bool:
    return isinstance(bundle.meta.get(KEY), dict)


def translate(bundle: WeightBundle) -> tuple[Config, dict[str, Tensor]]:
    return parse(bundle.meta[KEY]), bundle.state_dict()
