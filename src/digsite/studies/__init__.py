"""Studies are folders of YAML: found by scanning, by --studies DIR, and by the entry-point group `digsite.studies`."""

from digsite.studies.find import Study, all_studies, find_study

__all__ = ["Study", "all_studies", "find_study"]
