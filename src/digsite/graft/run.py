"""The methods of the graft room that a run can name."""

from collections.abc import Callable
from typing import Any

from digsite.graft.experiments.audit import audit
from digsite.graft.experiments.compare import compare
from digsite.graft.experiments.dictionaries import dictionaries
from digsite.graft.experiments.dictionary_truth import dictionary_truth
from digsite.graft.experiments.forensics import forensics
from digsite.graft.experiments.story_merges import merge_stories
from digsite.graft.experiments.story_rebasin import rebasin_stories

METHODS: dict[str, Callable[[Any, Any], None]] = {
    "compare": compare,
    "audit": audit,
    "forensics": forensics,
    "dictionaries": dictionaries,
    "dictionary_truth": dictionary_truth,
    "merge_stories": merge_stories,
    "rebasin_stories": rebasin_stories,
}
