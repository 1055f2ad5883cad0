"""Which simple parts add up to these weights, and which of them does each input use?"""

from typing import TYPE_CHECKING

from digsite.base.public import lazy_names, make_callable

if TYPE_CHECKING:
    from digsite.decompose.api import decompose as decompose
    from digsite.decompose.api import decompose_seeds as decompose_seeds
    from digsite.decompose.config import DecomposeConfig as DecomposeConfig
    from digsite.decompose.core.components import compare as compare
    from digsite.decompose.core.decomposition import Decomposition as Decomposition

__all__, __dir__, __getattr__ = lazy_names(__name__, __file__)
make_callable(__name__, "digsite.decompose.api:decompose")
