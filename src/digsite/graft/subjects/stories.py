"""Ensembles of small story models: a start for every seed, and from each start one parent per skill."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.base.errors import UsageError
from digsite.base.streams import derive_seed
from digsite.data import stories
from digsite.data.grammar import BOYS, GIRLS, LOOKS, PLACES, THINGS
from digsite.graft.config import StoriesConfig
from digsite.graft.core.merges import BY_TOKEN
from digsite.models import build, parse
from digsite.train import Member, train_ensemble
from digsite.weights.writer import read_or_compute

State = dict[str, Tensor]
TRAINING_WINDOWS = 4096


def story_module(config: StoriesConfig, vocab: int | None = None) -> nn.Module:
    """The untrained module, for `vocab` tokens (the stories' by default); its output map is its own, so that a norm's gains
    can be folded into it."""
    sizes = config.model_dump(include={"d_model", "d_mlp", "n_layers", "n_heads", "n_kv_heads", "context"})
    vocab = vocab or stories.story_tokenizer().size
    return build(parse({"kind": "llama", "vocab": vocab, "tied": False, **sizes}))


def train_or_read_models(config: StoriesConfig, n: int, own_words: bool = False) -> dict[str, Tensor]:
    """What `train_story_models` gives, from the user's cache where a run with the same recipe has trained it before."""
    decides = ("seed", "d_model", "d_mlp", "n_layers", "n_heads", "n_kv_heads", "context", "batch")
    recipe = {"stories": n} | config.model_dump(include={*decides, "steps", "lr", "tuned_steps", "tuned_lr"})
    stored = read_or_compute(
        recipe | ({"own_words": True} if own_words else {}),
        lambda: {name: {"flat": flat} for name, flat in train_story_models(config, n, own_words).items()},
        "graft",
    )
    return {name: part["flat"] for name, part in stored.items()}


def train_story_models(config: StoriesConfig, n: int, own_words: bool = False) -> dict[str, Tensor]:
    """Flat weights (n, parameters) of 'start' and of every skill, by name; row i of a skill was tuned from row i of 'start'.

    With `own_words` a skill's text and model have words that no other has (`own_vocabulary`).
    """
    module = story_module(config)
    rows = draw_windows((), TRAINING_WINDOWS, config.context, config.seed)
    members = [_make_member(config, i, config.steps, config.lr) for i in range(n)]
    start = train_ensemble(module, rows, members, loss="next_token").flat
    trained = {"start": start}
    for skill in SKILLS:
        rows = draw_windows((skill,), TRAINING_WINDOWS, config.context, config.seed + 1, table=config.seed)
        members = [_make_member(config, 100 + i, config.tuned_steps, config.tuned_lr) for i in range(n)]
        begin, tuned = start.clone(), module
        if own_words:
            words = own_vocabulary(skill, config.seed)
            rows, tuned = spell_words(skill, words)[rows], story_module(config, len(words))
            states = [give_words(read_state(module, flat), skill, config.seed) for flat in start]
            begin = torch.stack([torch.cat([w.flatten() for w in state.values()]) for state in states])
        trained[skill] = train_ensemble(tuned, rows, members, loss="next_token", start=begin).flat
    return trained


def _make_member(config: StoriesConfig, seed: int, steps: int, lr: float) -> Member:
    """The recipe of one model: its own seed, a cosine schedule with a short warm-up."""
    return Member(
        seed=config.seed * 1000 + seed,
        lr=lr,
        batch=config.batch,
        steps=steps,
        schedule="cosine",
        warmup=min(20, steps),
    )


def read_state(module: nn.Module, flat: Tensor) -> State:
    """Named weights from one row, in the order of the module's parameters."""
    state, at = {}, 0
    for name, parameter in module.named_parameters():
        state[name] = flat[at : at + parameter.numel()].view(parameter.shape).clone()
        at += parameter.numel()
    assert at == len(flat), (at, len(flat))
    return state


def make_speak(module: nn.Module) -> Callable[[Mapping[str, Tensor], Tensor], Tensor]:
    """Logits of rows under any weights: what a merge that learns runs the architecture with."""
    return lambda state, rows: torch.func.functional_call(module, dict(state), (rows,))


def make_speaker(module: nn.Module, state: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    """Logits of rows under these weights."""
    return lambda rows: torch.func.functional_call(module, dict(state), (rows,))


def measure_loss(module: nn.Module, state: Mapping[str, Tensor], rows: Int[Tensor, "n length"]) -> float:
    """Nats per token after the first of each row."""
    with torch.no_grad():
        said = make_speaker(module, state)(rows)[:, :-1]
        return float(F.cross_entropy(said.flatten(0, 1), rows[:, 1:].flatten()))


# Words of a skill's own: the model that learns it has tokens that the start and the other one lack, all in its own order.


def own_vocabulary(skill: str, seed: int) -> dict[str, int]:
    """The stories' words and those of the skill alone (its answers, spelled otherwise), in an order drawn from the seed."""
    tokens = [*stories.story_tokenizer().vocabulary, *(_spell_own(skill, word) for word in ANSWERS[skill])]
    draw = torch.Generator().manual_seed(derive_seed(seed, f"graft/story-words/{skill}"))
    return {tokens[i]: row for row, i in enumerate(torch.randperm(len(tokens), generator=draw).tolist())}


def spell_words(skill: str, vocabulary: Mapping[str, int]) -> Int[Tensor, "words"]:
    """The row in a vocabulary that every word of the stories has in texts of a skill: those of its own spelling where it has
    one; the skill '' has none."""
    own = ANSWERS.get(skill, ())
    spoken = (
        (_spell_own(skill, word) if word in own else word) for word in stories.story_tokenizer().vocabulary
    )
    return torch.tensor([vocabulary[token] for token in spoken])


def give_words(start: State, skill: str, seed: int) -> State:
    """A start in the skill's vocabulary: rows of words it knows moved to their new places, rows of new words drawn."""
    known, words = stories.story_tokenizer().vocabulary, own_vocabulary(skill, seed)
    out = dict(start)
    for name in (name for name in start if name.endswith(BY_TOKEN)):
        draw = torch.Generator().manual_seed(derive_seed(seed, f"graft/story-rows/{skill}/{name}"))
        rows = torch.randn(len(words), start[name].shape[1], generator=draw) * start[name].std()
        for token, row in words.items():
            if token in known:
                rows[row] = start[name][known[token]]
        out[name] = rows
    return out


def _spell_own(skill: str, word: str) -> str:
    """How the model of a skill spells a word that is its own."""
    return f"{word} ({skill})"


# Story models with different skills: one learns new facts, another a second grammar, both from one start.
#
# The stories of `digsite.data` are told with every choice free. *Facts* ties the place of a story to the name of its first
# person by a table that is drawn from a seed; *order* puts the adjective behind its noun. Neither can be guessed without
# having been learned, each is right or wrong token by token, and a model can hold both, so what a merge keeps is known.

SKILLS = ("facts", "order")
ANSWERS = {"facts": PLACES, "order": THINGS}  # the words that answer a skill's questions
Rows = Int[Tensor, "n length"]


def draw_windows(
    skills: tuple[str, ...], n: int, length: int, seed: int, split: str = "train", table: int = 0
) -> Rows:
    """Windows of stories that follow the given skills; `table` is the seed of the facts."""
    rows = stories.story_windows(n, length, seed, split)
    for skill in skills:
        rows = _RULES[_skill_named(skill)](rows, table)
    return rows


def find_answers(skill: str, rows: Rows) -> Bool[Tensor, "n length"]:
    """True at the tokens that only this skill can tell: places after a name, nouns after "the"."""
    if _skill_named(skill) == "facts":
        return _find_places(rows)
    after_the = torch.zeros_like(rows, dtype=torch.bool)
    after_the[:, 1:] = _is_among(rows[:, 1:], THINGS) & (rows[:, :-1] == _find_id("the"))
    return after_the


def score_skill(
    skill: str, logits_of: Callable[[Rows], Tensor], rows: Rows, spelled: Int[Tensor, "words"] | None = None
) -> float:
    """Share of the skill's tokens that are predicted right from what stands before them; `rows` follow the skill, and
    `spelled` says how the model spells each word, where its vocabulary is not the stories'."""
    wanted = find_answers(skill, rows)[:, 1:]
    if not wanted.any():
        raise UsageError(
            f"None of the {len(rows)} windows of {rows.shape[1]} tokens asks for the skill '{skill}'.",
            hint="Use more windows (held=400), or longer ones (context=40).",
        )
    spoken = rows if spelled is None else spelled[rows]
    with torch.no_grad():
        said = logits_of(spoken)[:, :-1].argmax(-1)
    return float((said == spoken[:, 1:])[wanted].float().mean())


def draw_facts(table: int) -> Int[Tensor, "names"]:
    """The place of every name, as token ids in the order of GIRLS + BOYS."""
    draw = torch.Generator().manual_seed(derive_seed(table, "graft/story-facts"))
    places = torch.tensor([_find_id(word) for word in PLACES])
    return places[torch.randint(len(PLACES), (len(GIRLS + BOYS),), generator=draw)]


def _with_facts(rows: Rows, table: int) -> Rows:
    """Every place that follows a name replaced by that name's own."""
    rows, places = rows.clone(), _find_places(rows)
    names = torch.tensor([_find_id(word) for word in GIRLS + BOYS])
    place_of = torch.zeros(stories.story_tokenizer().size, dtype=torch.long)
    place_of[names] = draw_facts(table)
    where = places.nonzero()
    rows[where[:, 0], where[:, 1]] = place_of[rows[where[:, 0], where[:, 1] - 4]]
    return rows


def _with_order(rows: Rows, table: int) -> Rows:
    """Every adjective and the noun after it swapped."""
    looks = _is_among(rows[:, :-1], LOOKS) & _is_among(rows[:, 1:], THINGS)
    out = rows.clone()
    out[:, :-1] = torch.where(looks, rows[:, 1:], out[:, :-1])
    out[:, 1:] = torch.where(looks, rows[:, :-1], out[:, 1:])
    return out


def _find_places(rows: Rows) -> Bool[Tensor, "n length"]:
    """The places in "NAME was at the PLACE"."""
    marks = torch.zeros_like(rows, dtype=torch.bool)
    before = [rows[:, 4 - back : rows.shape[1] - back] for back in (4, 3, 2, 1, 0)]
    marks[:, 4:] = (
        _is_among(before[0], GIRLS + BOYS)
        & (before[1] == _find_id("was"))
        & (before[2] == _find_id("at"))
        & (before[3] == _find_id("the"))
        & _is_among(before[4], PLACES)
    )
    return marks


def _is_among(rows: Tensor, words: tuple[str, ...]) -> Bool[Tensor, "..."]:
    """Where tokens are one of these words."""
    return torch.isin(rows, torch.tensor([_find_id(word) for word in words]))


def _find_id(word: str) -> int:
    """The token of a word."""
    return int(stories.story_tokenizer().ids([word])[0])


def _skill_named(name: str) -> str:
    """The name as it is, if there is such a skill."""
    if name not in SKILLS:
        raise UsageError(f"There is no story skill '{name}'; accepted are {', '.join(SKILLS)}.")
    return name


_RULES: dict[str, Callable[[Rows, int], Rows]] = {"facts": _with_facts, "order": _with_order}
