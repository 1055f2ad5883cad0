"""The methods of the graft room that a run can name."""

from collections.abc import Callable
from typing import Any

from digsite.graft.experiments.alignment import report_alignment
from digsite.graft.experiments.audit import audit_published
from digsite.graft.experiments.compare import compare_methods
from digsite.graft.experiments.dictionaries import compare_dictionaries, score_against_truth
from digsite.graft.experiments.forensics import find_planted
from digsite.graft.experiments.story_merges import merge_stories
from digsite.graft.experiments.story_rebasin import rebasin_stories

METHODS: dict[str, Callable[[Any, Any], None]] = {
    "compare": compare_methods,
    "audit": audit_published,
    "alignment": report_alignment,
    "forensics": find_planted,
    "dictionaries": compare_dictionaries,
    "dictionary_truth": score_against_truth,
    "merge_stories": merge_stories,
    "rebasin_stories": rebasin_stories,
}
