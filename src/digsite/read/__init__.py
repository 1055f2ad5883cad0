"""What do the weights of a model say, where does it come from, and how far is each answer to be trusted?"""

from typing import TYPE_CHECKING

from digsite.base.public import lazy_names, make_callable

if TYPE_CHECKING:
    from digsite.read.core.reader import Reader as Reader
    from digsite.read.core.reader import load_reader as load_reader
    from digsite.read.core.reader import train_over_recipes as train_over_recipes
    from digsite.read.core.reader import train_reader as train_reader
    from digsite.read.judge.describe import features as features
    from digsite.read.judge.invariance import check_invariance as check_invariance

__all__, __dir__, __getattr__ = lazy_names(__name__, __file__)
make_callable(__name__, "digsite.read.api:read")
