"""The page that shows the building says where things are; they are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "map.md").read_text()


def test_ten_questions_are_answered_by_files_that_exist():
    answers = re.findall(r"^\| Where .*\? \| `(.+)` \|$", PAGE, re.MULTILINE)
    assert len(answers) >= 10
    assert not [path for path in answers if not (ROOT / path).is_file()]


def test_every_package_stands_on_the_map():
    packages = [p.name for p in (ROOT / "src" / "digsite").iterdir() if (p / "__init__.py").exists()]
    assert not [name for name in packages if f"{name}/" not in PAGE]


def test_decisions_are_numbered_once_and_without_a_gap():
    """Four pages once shared their number with another, so "decisions/18" was three answers."""
    numbers = sorted(int(page.name[:2]) for page in (ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert numbers == list(range(1, len(numbers) + 1))
    for text in (PAGE, *(page.read_text() for page in (ROOT / "LOG.md", *(ROOT / "docs").glob("*.md")))):
        assert {int(n) for n in re.findall(r"decisions/(\d\d)\b", text)} <= set(numbers)
