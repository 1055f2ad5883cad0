"""Stored collections of trained networks."""

from typing import TYPE_CHECKING

from digsite.base.public import lazy_names

if TYPE_CHECKING:
    from digsite.zoo.store import Architecture as Architecture
    from digsite.zoo.store import Part as Part
    from digsite.zoo.store import ZooWriter as ZooWriter
    from digsite.zoo.zoo import Ceiling as Ceiling
    from digsite.zoo.zoo import Split as Split
    from digsite.zoo.zoo import Zoo as Zoo
    from digsite.zoo.zoo import noise_ceiling as noise_ceiling

__all__, __dir__, __getattr__ = lazy_names(__name__, __file__)
