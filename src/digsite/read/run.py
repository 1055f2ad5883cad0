"""The methods of this room."""

from digsite.read.runs.group_zoo import group_zoo
from digsite.read.runs.nwa import nwa
from digsite.read.runs.published import published

METHODS = {"nwa": nwa, "published": published, "group_zoo": group_zoo}
