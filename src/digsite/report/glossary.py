"""The words that reports use, read from the page that is also docs/glossary.md."""

import re
from functools import cache
from pathlib import Path

PAGE = Path(__file__).parent / "assets" / "glossary.md"
ENTRY = re.compile(r"^\*\*(.+?)\*\*: (.+)$", re.M)


@cache
def explained_words() -> tuple[tuple[str, str], ...]:
    """Every word with its explanation, in the order of the page; marks of emphasis are taken out."""
    text = PAGE.read_text(encoding="utf-8")
    return tuple((word, re.sub(r"[*`]", "", said)) for word, said in ENTRY.findall(text))
