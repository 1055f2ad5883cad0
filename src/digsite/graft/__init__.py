"""Can what one network knows be moved into another, what does it cost, and does it come from there?"""

from typing import TYPE_CHECKING

from digsite.base.public import lazy_names, make_callable

if TYPE_CHECKING:
    from digsite.graft.api import Grafted as Grafted
    from digsite.graft.api import graft as graft
    from digsite.graft.core.pair import Pair as Pair
    from digsite.graft.judge.forensics import LayerReport as LayerReport
    from digsite.graft.judge.forensics import inspect as inspect

__all__, __dir__, __getattr__ = lazy_names(__name__, __file__)
make_callable(__name__, "digsite.graft.api:graft")
