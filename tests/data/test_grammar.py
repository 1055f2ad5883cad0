import math

import numpy as np
import pytest

from digsite.data.grammar import BOYS, GIRLS, HOLDERS, Story, list_words, tell_story


def told(n: int) -> list[Story]:
    rng = np.random.default_rng(0)
    return [tell_story(rng) for _ in range(n)]


def test_every_word_is_in_the_vocabulary():
    words = list_words()
    assert len(set(words)) == len(words) == 93
    assert {word for story in told(500) for word in story.words} == set(words)


def replay(story: Story) -> str:
    """Who holds the thing, worked out from the sentences alone."""
    text = " ".join(story.words[: story.n_body])
    first, second = (word for word in dict.fromkeys(story.words) if word in GIRLS + BOYS)
    side, other = {first: "first", second: "second"}, {first: "second", second: "first"}
    holder = "first"
    for sentence in text.split(" . "):
        for verb in ("gave", "shared", "lost", "found", "kept", "took"):
            if f" {verb} " in sentence:
                actor = sentence.split(f" {verb} ")[0].split()[-1]
                outcomes = {"gave": other[actor], "shared": "both", "lost": "nobody"}
                holder = outcomes.get(verb, side[actor])
    return holder


def test_the_holder_follows_from_the_text():
    for story in told(400):
        assert replay(story) == story.holder
        owner = story.words[story.n_body + 4 : -5]
        assert len(owner) == (3 if story.holder == "both" else 1)


def test_all_four_ends_occur():
    counts = np.unique([story.holder for story in told(1000)], return_counts=True)
    assert set(counts[0]) == set(HOLDERS) and counts[1].min() > 60


def test_the_surprise_is_the_real_one():
    """The stated probability of a word after a prefix against how often it follows it in 20,000 stories."""
    stories = told(20000)
    after: dict[tuple, dict[str, int]] = {}
    stated: dict[tuple, float] = {}
    for story in stories:
        for i in range(2):
            prefix = story.words[:i]
            after.setdefault(prefix, {}).setdefault(story.words[i], 0)
            after[prefix][story.words[i]] += 1
            stated[*prefix, story.words[i]] = story.surprise[i]
    for prefix, nexts in after.items():
        total = sum(nexts.values())
        for word, count in nexts.items():
            assert math.exp(-stated[*prefix, word]) == pytest.approx(count / total, abs=0.02)


def test_ends_are_as_likely_as_stated():
    counts = np.bincount([story.n_events for story in told(20000)])
    assert counts[1] / counts.sum() == pytest.approx(0.45, abs=0.015)
    assert counts[2] / counts.sum() == pytest.approx(0.45 * 0.55, abs=0.015)
