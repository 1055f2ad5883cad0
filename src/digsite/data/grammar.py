"""The story language: two people, one thing, and who holds it; every choice shows in the very next word.

So the probability of each word given the words before it is known exactly, and a language model's loss can be
compared with the grammar's own entropy.
"""

import math
from dataclasses import dataclass, field

import numpy as np

GIRLS = ("anna", "ella", "lily", "mia", "nora", "rosa", "sara", "zoe")
BOYS = ("ben", "finn", "jack", "leo", "max", "noah", "sam", "tom")
PLACES = ("barn", "beach", "farm", "forest", "garden", "lake", "market", "park", "river", "school")
THINGS = (
    "ball",
    "bell",
    "book",
    "box",
    "cake",
    "coin",
    "drum",
    "flag",
    "hat",
    "key",
    "kite",
    "lamp",
    "map",
    "ring",
    "shell",
    "toy",
)
LOOKS = ("big", "blue", "green", "little", "new", "old", "red", "shiny", "strange", "white")
TIMES = (("one", "day"), ("yesterday",), ("last", "week"), ("in", "the", "morning"), ("after", "lunch"))
NEXT = (("then",), ("soon",), ("so",), ("but",))
END = (("at", "the", "end"),)
FEELINGS = {"gains": "happy", "loses": "sad", "both": "proud", "nobody": "worried"}
HOLDERS = ("first", "second", "both", "nobody")  # who has the thing when the story ends: the classes
P_END = 0.45  # probability that a story stops after an event


@dataclass
class Teller:
    """Collects words and the surprise, in nats, of each of them."""

    rng: np.random.Generator
    words: list[str] = field(default_factory=list)
    surprise: list[float] = field(default_factory=list)
    _pending: float = 0.0

    def say(self, *words: str) -> None:
        """Words that follow without a choice cost nothing beyond what the last choice left to pay."""
        for word in words:
            self.words.append(word)
            self.surprise.append(self._pending)
            self._pending = 0.0

    def pick(self, options: tuple, weights: tuple[float, ...] | None = None):
        """A choice; the options must differ in the next word that is said.

        With equal or given `weights`. The surprise -log p is charged to the next word that is said, which is
        the one that shows the choice: so each word carries exactly its own conditional surprise.
        """
        p = np.full(len(options), 1 / len(options)) if weights is None else np.asarray(weights) / sum(weights)
        index = int(np.searchsorted(np.cumsum(p), self.rng.random(), side="right"))
        index = min(index, len(options) - 1)
        self._pending -= math.log(p[index])
        return options[index]


@dataclass(frozen=True)
class Story:
    """One text with what is true of it. `holder` is decided at the end of the last event, and said in the last
    sentence.
    """

    words: tuple[str, ...]
    surprise: tuple[float, ...]  # nats of each word given the words before it
    holder: str  # one of HOLDERS
    n_body: int  # words before the last sentence, which gives the holder away
    n_events: int

    @property
    def text(self) -> str:
        return " ".join(self.words)


def tell_story(rng: np.random.Generator) -> Story:
    """One story of the grammar; every number in it comes from `rng` in a fixed order."""
    teller = Teller(rng)
    teller.say(*teller.pick(TIMES), ",")
    first = teller.pick(GIRLS + BOYS)
    teller.say(first, "was", "at", "the")
    teller.say(teller.pick(PLACES), ".")
    teller.say(_choose_pronoun(first), "had", "a")
    look = teller.pick(LOOKS)
    teller.say(look)
    thing = teller.pick(THINGS)
    teller.say(thing, ".", _choose_pronoun(first), "met")
    second = teller.pick(tuple(n for n in GIRLS + BOYS if n != first))
    teller.say(second, ".")
    holder, n_events, opening = "first", 0, teller.pick(NEXT)
    while opening not in END:
        teller.say(*opening, ",")
        holder = _tell_event(teller, (first, second), (look, thing), holder)
        n_events += 1
        share = (1 - P_END) / len(NEXT)
        opening = teller.pick(NEXT + END, (*[share] * len(NEXT), P_END))
    n_body = len(teller.words)
    owner = {"first": (first,), "second": (second,), "both": (first, "and", second), "nobody": ("nobody",)}[
        holder
    ]
    teller.say(*opening, ",", *owner, "had", "the", look, thing, ".")
    return Story(tuple(teller.words), tuple(teller.surprise), holder, n_body, n_events)


def _choose_pronoun(name: str) -> str:
    """Follows from the name, so it surprises nobody."""
    return "she" if name in GIRLS else "he"


def _tell_event(teller: Teller, people: tuple[str, str], item: tuple[str, str], holder: str) -> str:
    """Say one event and how its subject feels; returns the new holder."""
    actor = teller.pick((0, 1))
    me, you = people[actor], people[1 - actor]
    own_object, yours = HOLDERS[actor], HOLDERS[1 - actor]
    verb = teller.pick(tuple(_list_verbs(holder, own_object)))
    after, mood, tail = _list_outcomes(own_object, yours, you)[verb]
    teller.say(me, verb, "the", *item, *tail, ".")
    teller.say(_choose_pronoun(me), "was", FEELINGS[mood], ".")
    return after


def _list_verbs(holder: str, own_object: str) -> tuple[str, ...]:
    """What a person can do with the thing as things stand."""
    if holder == own_object:
        return ("gave", "shared", "lost")
    return {"nobody": ("found", "missed"), "both": ("kept", "gave", "lost")}.get(holder, ("took", "wanted"))


def _list_outcomes(own_object: str, yours: str, you: str) -> dict[str, tuple[str, str, tuple[str, ...]]]:
    """For each verb: who holds the thing afterwards, how the actor feels, how the sentence ends."""
    return {
        "gave": (yours, "gains", ("to", you)),
        "shared": ("both", "both", ("with", you)),
        "lost": ("nobody", "loses", ()),
        "found": (own_object, "gains", ()),
        "missed": ("nobody", "nobody", ()),
        "kept": (own_object, "both", ()),
        "took": (own_object, "gains", ("from", you)),
        "wanted": (yours, "loses", ()),
    }


def list_words() -> tuple[str, ...]:
    """Every word that a story can hold, in a fixed order."""
    fixed = {
        "was",
        "at",
        "the",
        "had",
        "a",
        "met",
        "and",
        "nobody",
        "she",
        "he",
        ",",
        ".",
        "to",
        "with",
        "from",
    }
    verbs = set(_list_outcomes("first", "second", ""))
    phrases = {word for phrase in TIMES + NEXT + END for word in phrase}
    listed = {*GIRLS, *BOYS, *PLACES, *THINGS, *LOOKS, *FEELINGS.values()}
    return tuple(sorted(fixed | verbs | phrases | listed))
