"""The words are one page: in the documentation, and at the end of every report."""

from pathlib import Path

from digsite.report.page import GLOSSARY, explained_words

DOCS = Path(__file__).parents[2] / "docs" / "glossary.md"


def test_the_page_of_the_documentation_is_the_page_of_the_reports():
    assert DOCS.read_text() == GLOSSARY.read_text()


def test_every_word_of_a_headline_is_explained():
    words = dict(explained_words())
    for word in (
        "room",
        "ground",
        "null",
        "desk",
        "hero",
        "claim",
        "measurement",
        "headline",
        "rival",
        "interval",
        "Wilson",
        "BCa",
        "Clopper-Pearson",
        "Gaffke",
        "Student",
        "corrected p",
        "surrogate",
    ):
        assert len(words[word]) > 30, word
