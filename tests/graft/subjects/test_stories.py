"""Story models come out as named weights of the same function, tuned from their own start."""

from itertools import pairwise

import pytest
import torch

from digsite.base.errors import UsageError
from digsite.data import stories
from digsite.data.grammar import BOYS, GIRLS, LOOKS, THINGS
from digsite.graft.config import StoriesConfig
from digsite.graft.subjects.stories import (
    ANSWERS,
    SKILLS,
    draw_facts,
    draw_windows,
    find_answers,
    give_words,
    make_speaker,
    measure_loss,
    own_vocabulary,
    read_state,
    score_skill,
    spell_words,
    story_module,
    train_story_models,
)

CONFIG = StoriesConfig.model_validate(
    {
        "d_model": 16,
        "d_mlp": 16,
        "n_layers": 1,
        "n_heads": 2,
        "n_kv_heads": 1,
        "context": 24,
        "steps": 4,
        "tuned_steps": 3,
        "batch": 8,
    }
)


def test_parents_are_tuned_from_their_start():
    flat = train_story_models(CONFIG, 2)
    assert set(flat) == {"start", *SKILLS} and all(
        rows.shape == flat["start"].shape for rows in flat.values()
    )
    assert not torch.equal(flat["start"][0], flat["start"][1])
    for skill in SKILLS:
        moved = (flat[skill] - flat["start"]).norm(dim=1)
        apart = (flat["start"][0] - flat["start"][1]).norm()
        assert (moved > 0).all() and (moved < apart).all()


def test_named_weights_are_the_same_function():
    module = story_module(CONFIG)
    flat = torch.cat([p.detach().flatten() for p in module.parameters()])
    rows = draw_windows((), 4, CONFIG.context, 0)
    state = read_state(module, flat)
    with torch.no_grad():
        torch.testing.assert_close(make_speaker(module, state)(rows), module(rows))
    assert measure_loss(module, state, rows) > 0
    assert "lm_head.weight" in state and "model.embed_tokens.weight" in state


# Skills change the tokens they should and no others, and can be told from each other.


def words(rows):
    names = {i: w for w in stories.story_tokenizer().words for i in stories.story_tokenizer().ids([w])}
    return [[names.get(i, "") for i in row] for row in rows.tolist()]


def test_facts_tie_the_place_to_the_name():
    rows, plain = draw_windows(("facts",), 60, 36, 0), draw_windows((), 60, 36, 0)
    places = dict(zip(GIRLS + BOYS, draw_facts(0).tolist(), strict=True))
    at = find_answers("facts", rows)
    assert at.any() and torch.equal(rows[~at], plain[~at])
    told = words(rows)
    for row, column in at.nonzero().tolist():
        assert int(rows[row, column]) == places[told[row][column - 4]]


def test_order_puts_the_adjective_behind_and_changes_nothing_else():
    rows, plain = draw_windows(("order",), 60, 36, 0), draw_windows((), 60, 36, 0)
    assert torch.equal(rows.sort(1).values, plain.sort(1).values)
    for line in words(rows):
        for first, second in pairwise(line):
            assert not (first in LOOKS and second in THINGS)


def test_a_model_that_knows_is_right_and_one_that_guesses_is_not():
    for skill in ("facts", "order"):
        rows = draw_windows((skill,), 40, 36, 1)

        def knows(given, rows=rows):
            return torch.nn.functional.one_hot(rows.roll(-1, 1), stories.story_tokenizer().size).float()

        assert score_skill(skill, knows, rows) == 1.0
        assert (
            score_skill(skill, lambda g: torch.zeros(*g.shape, stories.story_tokenizer().size), rows) == 0.0
        )


def test_what_has_no_answer_is_said():
    with pytest.raises(UsageError, match="no story skill 'rhyme'"):
        draw_windows(("rhyme",), 2, 36, 0)
    with pytest.raises(UsageError, match="None of the 1 windows"):
        score_skill("facts", lambda rows: rows, draw_windows((), 1, 36, 0)[:, :5])


# Words of a skill's own.


def test_own_words_are_the_answers_and_only_those():
    plain = stories.story_tokenizer().vocabulary
    for skill in SKILLS:
        own = own_vocabulary(skill, 0)
        assert set(own) > set(plain) and sorted(own.values()) == list(range(len(own)))
        assert [own[w] for w in plain] != list(plain.values()), "in an order of its own"
        rows = draw_windows((skill,), 40, 36, 0)
        names = {row: token for token, row in own.items()}
        told = [names[i] for i in spell_words(skill, own)[rows].flatten().tolist()]
        assert all(
            (token != word) == (word in ANSWERS[skill])
            for token, word in zip(told, (word for row in words(rows) for word in row), strict=True)
            if word
        )


def test_a_start_with_more_words_says_the_same_in_those_it_knows():
    module, skill = story_module(CONFIG), "order"
    state, own = dict(module.state_dict()), own_vocabulary("order", 0)
    rows = draw_windows((), 4, CONFIG.context, 0)
    wide = give_words(state, skill, 0)
    place = spell_words("", own)
    said = make_speaker(story_module(CONFIG, len(own)), wide)(place[rows])[..., place]
    torch.testing.assert_close(said, make_speaker(module, state)(rows))


def test_parents_with_own_words_have_rows_for_them():
    flat = train_story_models(CONFIG, 2, own_words=True)
    for skill in SKILLS:
        more = 2 * CONFIG.d_model * len(ANSWERS[skill])
        assert flat[skill].shape[1] == flat["start"].shape[1] + more
