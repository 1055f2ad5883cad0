"""One workbench for the insides of neural networks."""

from typing import TYPE_CHECKING

from digsite.base.public import lazy_names
from digsite.base.settings import read_version

if TYPE_CHECKING:
    # The rooms can be called: digsite.prune(model, data)
    from digsite import decompose as decompose
    from digsite import graft as graft
    from digsite import prune as prune
    from digsite import read as read
    from digsite import track as track
    from digsite.api import Run as Run
    from digsite.api import list_runs as list_runs
    from digsite.api import list_studies as list_studies
    from digsite.api import open_run as open_run
    from digsite.api import run as run
    from digsite.decompose import Decomposition as Decomposition
    from digsite.zoo import Zoo as Zoo

__all__, __dir__, _find_name = lazy_names(__name__, __file__)


def __getattr__(name: str):
    return read_version() if name == "__version__" else _find_name(name)
