import numpy as np
import pytest
import torch

from digsite.base.errors import UsageError
from digsite.data import stories


def test_the_seed_decides():
    a, b, c = (stories.draw_stories(20, seed) for seed in (3, 3, 4))
    assert a == b != c
    assert stories.draw_stories(5, 3) == a[:5]


def test_no_story_is_in_both_splits():
    train = {s.text for seed in range(3) for s in stories.draw_stories(400, seed)}
    test = {s.text for seed in range(3) for s in stories.draw_stories(400, seed, "test")}
    assert not train & test


def test_every_window_begins_with_a_story():
    words, rows = stories.story_tokenizer(), stories.story_windows(40, 50, seed=1)
    assert rows.shape == (40, 50) and int(rows.max()) < words.size
    assert (rows[:, 0] == words.bos).all() and (rows != words.unknown).all() and (rows != words.pad).all()
    assert {words.token(i) for i in rows[:, 1].tolist()} <= {"one", "yesterday", "last", "in", "after"}
    assert torch.equal(rows[:9], stories.story_windows(9, 50, seed=1))
    assert not torch.equal(rows, stories.story_windows(40, 50, seed=2))


def test_the_nats_of_a_window_are_those_of_its_tokens():
    words, rows, nats = (
        stories.story_tokenizer(),
        stories.story_windows(60, 90, seed=1),
        stories.window_nats(60, 90, seed=1),
    )
    assert nats.shape == rows.shape and not nats[rows == words.bos].any()
    after_had_a = rows[:, :-1] == words.ids(["a"])[0]
    assert nats[:, 1:][after_had_a].exp().round().tolist() == [10] * int(after_had_a.sum())
    sure = rows == words.ids(["."])[0]
    assert sure.any() and not nats[sure].any()


def test_the_entropy_is_the_mean_surprise():
    told = stories.draw_stories(3000)
    total = sum(sum(story.surprise) for story in told)
    assert stories.story_entropy(told) == total / sum(len(story.words) + 1 for story in told)
    assert 0.35 < stories.story_entropy(told) < 0.41


def test_classes_are_of_one_size_and_the_answer_is_not_in_the_text():
    texts = stories.classify_holders(400, 100, length=64, seed=2)
    assert torch.bincount(texts.y_train).tolist() == [100] * 4 and texts.length == 64
    words = stories.story_tokenizer()
    assert words.ids(["end"])[0] not in texts.x_train
    assert int(texts.x_train.max()) < texts.vocab and (texts.x_train == texts.pad).any()
    rows = {tuple(row) for row in texts.x_train.tolist()}
    assert not rows & {tuple(row) for row in texts.x_test.tolist()}


def test_counting_words_is_not_enough():
    """The order of events decides in part: a linear reader of word counts makes an error in eight or so."""
    from sklearn.linear_model import LogisticRegression

    texts = stories.classify_holders(1200, 400)
    counts = [
        np.stack([np.bincount(r, minlength=texts.vocab) for r in x]) for x in (texts.x_train, texts.x_test)
    ]
    reader = LogisticRegression(max_iter=2000).fit(counts[0], texts.y_train)
    assert 0.3 < reader.score(counts[1], texts.y_test) < 0.9


def test_bad_requests_are_named():
    with pytest.raises(UsageError, match="no split 'validation'"):
        stories.draw_stories(1, split="validation")
    with pytest.raises(UsageError, match="A text of 8 tokens holds no story"):
        stories.classify_holders(4, 4, length=8)
