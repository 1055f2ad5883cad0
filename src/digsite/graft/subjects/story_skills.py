"""Story models with different skills: one learns new facts, another a second grammar, both from one start.

The stories of `digsite.data` are told with every choice free. *Facts* ties the place of a story to the name of its first
person by a table that is drawn from a seed; *order* puts the adjective behind its noun. Neither can be guessed without
having been learned, each is right or wrong token by token, and a model can hold both, so what a merge keeps is known.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.base.streams import derive_seed
from digsite.data import stories
from digsite.data.grammar import BOYS, GIRLS, LOOKS, PLACES, THINGS

SKILLS = ("facts", "order")
Rows = Int[Tensor, "n length"]


def told_with(
    skills: tuple[str, ...], n: int, length: int, seed: int, split: str = "train", table: int = 0
) -> Rows:
    """Windows of stories that follow the given skills; `table` is the seed of the facts."""
    rows = stories.windows(n, length, seed, split)
    for skill in skills:
        rows = _RULES[_skill_named(skill)](rows, table)
    return rows


def answers_at(skill: str, rows: Rows) -> Bool[Tensor, "n length"]:
    """True at the tokens that only this skill can tell: places after a name, nouns after "the"."""
    if _skill_named(skill) == "facts":
        return _places(rows)
    after_the = torch.zeros_like(rows, dtype=torch.bool)
    after_the[:, 1:] = _among(rows[:, 1:], THINGS) & (rows[:, :-1] == _id("the"))
    return after_the


def skill_accuracy(skill: str, logits_of: Callable[[Rows], Tensor], rows: Rows) -> float:
    """Share of the skill's tokens that are predicted right from what stands before them; `rows` follow the skill."""
    wanted = answers_at(skill, rows)[:, 1:]
    if not wanted.any():
        raise UsageError(
            f"None of the {len(rows)} windows of {rows.shape[1]} tokens asks for the skill '{skill}'.",
            hint="Use more windows (held=400), or longer ones (context=40).",
        )
    with torch.no_grad():
        said = logits_of(rows)[:, :-1].argmax(-1)
    return float((said == rows[:, 1:])[wanted].float().mean())


def facts_table(table: int) -> Int[Tensor, "names"]:
    """The place of every name, as token ids in the order of GIRLS + BOYS."""
    draw = torch.Generator().manual_seed(derive_seed(table, "graft/story-facts"))
    places = torch.tensor([_id(word) for word in PLACES])
    return places[torch.randint(len(PLACES), (len(GIRLS + BOYS),), generator=draw)]


def _with_facts(rows: Rows, table: int) -> Rows:
    rows, places = rows.clone(), _places(rows)
    names = torch.tensor([_id(word) for word in GIRLS + BOYS])
    place_of = torch.zeros(stories.tokenizer().size, dtype=torch.long)
    place_of[names] = facts_table(table)
    where = places.nonzero()
    rows[where[:, 0], where[:, 1]] = place_of[rows[where[:, 0], where[:, 1] - 4]]
    return rows


def _with_order(rows: Rows, table: int) -> Rows:
    looks = _among(rows[:, :-1], LOOKS) & _among(rows[:, 1:], THINGS)
    out = rows.clone()
    out[:, :-1] = torch.where(looks, rows[:, 1:], out[:, :-1])
    out[:, 1:] = torch.where(looks, rows[:, :-1], out[:, 1:])
    return out


def _places(rows: Rows) -> Bool[Tensor, "n length"]:
    """The places in "NAME was at the PLACE"."""
    found = torch.zeros_like(rows, dtype=torch.bool)
    before = [rows[:, 4 - back : rows.shape[1] - back] for back in (4, 3, 2, 1, 0)]
    found[:, 4:] = (
        _among(before[0], GIRLS + BOYS)
        & (before[1] == _id("was"))
        & (before[2] == _id("at"))
        & (before[3] == _id("the"))
        & _among(before[4], PLACES)
    )
    return found


def _among(rows: Tensor, words: tuple[str, ...]) -> Bool[Tensor, "..."]:
    return torch.isin(rows, torch.tensor([_id(word) for word in words]))


def _id(word: str) -> int:
    return int(stories.tokenizer().ids([word])[0])


def _skill_named(name: str) -> str:
    if name not in SKILLS:
        raise UsageError(f"There is no story skill '{name}'; accepted are {', '.join(SKILLS)}.")
    return name


_RULES: dict[str, Callable[[Rows, int], Rows]] = {"facts": _with_facts, "order": _with_order}
