"""The page that shows the building says where things are; they are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "map.md").read_text()

# Each answer of the page, and what must be found there.
FOUND = {
    "decompose/core/program.py": "class Program",
    "decompose/core/reference.py": "def ",
    "prune/core/scores/wanda.py": "class Wanda(",
    "prune/judge/nulls/random_masks.py": "class Margins(",
    "track/core/detectors/edge.py": "class Edge(Detector)",
    "track/subjects/known_trainings.py": "grokking",
    "track/judge/comparison.py": "What was published about the 55 runs",
    "read/core/graphnet.py": "class GraphNet(",
    "graft/core/access.py": "class AccessBudget",
    "decompose/experiments/toys.py": "run.verdict(",
    "record/results.py": "def read_results(",
}


def test_ten_questions_are_answered_by_files_that_exist():
    answers = re.findall(r"^\| Where .*\? \| `src/digsite/(.+)` \|$", PAGE, re.MULTILINE)
    assert sorted(answers) == sorted(FOUND)
    for path, words in FOUND.items():
        assert len(Path(path).parts) <= 4, f"{path} takes more than three steps of ls below src/digsite"
        assert words in (ROOT / "src" / "digsite" / path).read_text(), f"{path} is no answer any more"


def test_every_package_stands_on_the_map():
    packages = [p.name for p in (ROOT / "src" / "digsite").iterdir() if (p / "__init__.py").exists()]
    assert not [name for name in packages if f"{name}/" not in PAGE]


def test_decisions_are_numbered_once_and_without_a_gap():
    """Four pages once shared their number with another, so "decisions/18" was three answers."""
    numbers = sorted(int(page.name[:2]) for page in (ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert numbers == list(range(1, len(numbers) + 1))
    for text in (PAGE, *(page.read_text() for page in (ROOT / "LOG.md", *(ROOT / "docs").glob("*.md")))):
        assert {int(n) for n in re.findall(r"decisions/(\d\d)\b", text)} <= set(numbers)
