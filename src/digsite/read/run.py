"""The methods of this room."""

from digsite.read.experiments.families import families
from digsite.read.experiments.group_zoo import group_zoo
from digsite.read.experiments.nwa import nwa
from digsite.read.experiments.planted import planted
from digsite.read.experiments.published import published

METHODS = {
    "nwa": nwa,
    "published": published,
    "group_zoo": group_zoo,
    "families": families,
    "planted": planted,
}
