"""Which weights can go, and what structure is in the pattern of what stays?"""

from typing import TYPE_CHECKING

from digsite.base.public import lazy_names, make_callable

if TYPE_CHECKING:
    from digsite.prune.core.clusters import cluster_features as cluster_features
    from digsite.prune.core.hamming import neighbours as neighbours
    from digsite.prune.core.matrix import prune_matrix as prune_matrix
    from digsite.prune.core.model import Recipe as Recipe
    from digsite.prune.core.model import prune_model as prune_model
    from digsite.prune.core.packed import PackedMask as PackedMask
    from digsite.prune.core.packed import pack as pack
    from digsite.prune.judge.verdict import null_test as null_test

__all__, __dir__, __getattr__ = lazy_names(__name__, __file__)
make_callable(__name__, "digsite.prune.api:prune")
