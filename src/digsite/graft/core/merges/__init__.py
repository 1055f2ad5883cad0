"""Several fine-tuned models made into one: a class per way, found by its base, all on named weights of one shape."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import ClassVar

import torch
from torch import Tensor

from digsite.base import families
from digsite.base.errors import UsageError, name_nearest
from digsite.weights.formats.folder import EMBEDDINGS

FAMILY = "digsite.graft.core.merges"
State = dict[str, Tensor]
Vocabulary = Mapping[str, int]  # the row of every token
BY_TOKEN = (
    *EMBEDDINGS,
    "embed.weight",
    "lm_head.weight",
    "lm_head.bias",
    "embed_out.weight",
    "unembed.weight",
)
Speak = Callable[
    [State, Tensor], Tensor
]  # weights and rows of tokens (n, length) to logits (n, length, vocabulary)


@dataclass(frozen=True)
class Evidence:
    """What is known beside the parents' weights; lists have an entry for every parent."""

    start: State | None = None  # what all were tuned from
    fisher: Sequence[Mapping[str, Tensor]] = ()  # Fisher information by weight
    grams: Sequence[Mapping[str, Tensor]] = ()  # X^T X of what each linear map reads, by weight
    speak: Speak | None = None  # runs the architecture under any weights
    texts: Sequence[Tensor] = ()  # tokens (n, length) of what the parent was tuned on


@dataclass(frozen=True)
class MergeSettings:
    """Numbers of the merges, with the published defaults."""

    scale: float = 1.0  # of the summed changes: task arithmetic, TIES, DARE
    keep: float = 0.2  # TIES: share of each change that is trimmed to
    drop: float = 0.5  # DARE: chance that a weight's change is dropped, the others growing to make up for it
    shrink: float = 0.9  # RegMean: what is kept of the off-diagonal of X^T X
    steps: float = 60  # imitation: steps in which the weights of the changes are learned
    rate: float = 0.03  # imitation: of Adam
    by_row: float = 1.0  # imitation: a weight for every row of a change, or (0) one for every tensor
    shares: tuple[float, ...] = field(default=())  # of the parents, equal if empty
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            numbers = value if isinstance(value, tuple) else (value,)
            if not all(isinstance(number, int | float) and isfinite(number) for number in numbers):
                raise UsageError(f"The merge's setting '{name}' is {value!r}, which is not a finite number.")

    def split_shares(self, n: int) -> list[float]:
        """What each of `n` parents counts; the shares sum to 1."""
        given = self.shares or (1 / n,) * n
        if len(given) != n:
            raise UsageError(f"{len(given)} shares were given for {n} parents.")
        return [share / sum(given) for share in given]


class Merge(ABC):
    """One way to merge. `NEEDS` says what of the evidence it reads: 'start' (the weights that all parents were tuned from),
    'fisher' (how sharply each parent's loss depends on each weight), 'grams' (what each parent's linear maps read), 'speak'
    and 'texts' (the architecture, and text of each parent's own)."""

    NEEDS: ClassVar[tuple[str, ...]] = ()

    @staticmethod
    @abstractmethod
    def merge_states(parents: list[State], evidence: Evidence, settings: MergeSettings) -> State:
        """Weights by name, from two parents' or more of the same names and shapes."""


Member = Merge


def merge_models(
    method: str,
    parents: Sequence[State],
    evidence: Evidence | None = None,
    settings: MergeSettings | None = None,
) -> State:
    """Merge parents of one architecture by a member of the family, after checking that they are of one architecture.

    `method`: the member's name. `parents`: weights by name, two or more. `evidence`: what is known beside them.
    `settings`: numbers of the merges, the published defaults if not given.
    """
    known, name = families.list_members(FAMILY), method.replace("-", "_")
    if name not in known:
        raise UsageError(f"There is no way to merge called '{method}'. {name_nearest(name, known)}")
    member, evidence = families.scan_member(FAMILY, name), evidence or Evidence()
    check_alike(parents)
    if "start" in member.NEEDS and evidence.start is not None:
        check_alike([evidence.start, *parents], "start and parents")
    for need in member.NEEDS:
        if getattr(evidence, need) in (None, (), []):
            raise UsageError(
                f"The merge '{name}' reads the parents' {need}, and it was not given.",
                hint="Use average or slerp, which need the weights alone.",
            )
    return member.merge_states([dict(parent) for parent in parents], evidence, settings or MergeSettings())


def check_alike(models: Sequence[State], called: str = "parents") -> None:
    """Models of one architecture and finite, or one sentence with the first weight that differs."""
    if len(models) < 2:
        raise UsageError(f"A merge takes two models or more, and {len(models)} was given.")
    first = models[0]
    for other in models[1:]:
        odd = sorted(set(first) ^ set(other))
        if odd:
            raise UsageError(
                f"The {called} are not of one architecture: {len(odd)} weights are in one only, first '{odd[0]}'.",
                hint="Models of different depth, or with tied and untied embeddings, cannot be merged weight by weight.",
            )
        if tied := _list_tied(first) ^ _list_tied(other):
            raise UsageError(
                f"The {called} are not of one architecture: '{min(min(tied))}' is tied to another weight in one only.",
                hint="Untie both, or neither: a tied weight cannot be merged in two ways.",
            )
        for name, weight in first.items():
            if weight.shape != other[name].shape:
                raise UsageError(
                    f"The weight '{name}' is {tuple(weight.shape)} in one of the {called} and {tuple(other[name].shape)} in another.",
                    hint="Another width cannot be merged; another tokenizer can, by merge_vocabularies.",
                )
            if not (weight.isfinite().all() and other[name].isfinite().all()):
                raise UsageError(
                    f"The weight '{name}' of one of the {called} holds NaN or infinity; nothing was merged."
                )


def _list_tied(state: State) -> set[tuple[str, ...]]:
    """Groups of names that are one and the same tensor in memory, as a tied head and its embedding are."""
    by_place: dict[tuple[int, tuple[int, ...]], list[str]] = {}
    for name, weight in state.items():
        by_place.setdefault((weight.data_ptr(), tuple(weight.shape)), []).append(name)
    return {tuple(sorted(names)) for names in by_place.values() if len(names) > 1}


# Models whose tokens differ: rows find each other by the token they stand for.


def merge_vocabularies(
    method: str,
    parents: Sequence[State],
    vocabularies: Sequence[Vocabulary],
    evidence: Evidence | None = None,
    settings: MergeSettings | None = None,
) -> tuple[State, dict[str, int]]:
    """Merge parents of different vocabularies into a model of all their tokens, and the row of each token in it.

    Rows of a token that several parents have are merged like any other weight; a token that one parent has keeps its row.
    `method`, `parents` and `settings` as for `merge_models`; `vocabularies` (`load_tokenizer(folder).vocabulary`): one for every
    parent, and one more for `evidence.start` if there is one. Texts and Fisher information of `evidence` are in each parent's
    own tokens. The parents must share a basis, as those tuned from one start do; others are rebased first.
    """
    evidence, n = evidence or Evidence(), len(parents)
    models = [*parents, *([] if evidence.start is None else [evidence.start])]
    joined, joint, places = join_vocabularies(models, vocabularies, n)
    fisher = [
        {**own, **{name: _spread_rows(own[name], at, len(joint)) for name in _list_by_token(own)}}
        for own, at in zip(evidence.fisher, places[:n])
    ]
    evidence = replace(
        evidence,
        start=joined[n] if len(joined) > n else None,
        fisher=fisher,
        texts=[_spell_text(text, at) for text, at in zip(evidence.texts, places[:n])],
    )
    merged = merge_models(method, joined[:n], evidence, settings)
    owners = torch.stack([_mark_rows(at, len(joint)) for at in places[:n]])
    for parent, has in zip(joined[:n], owners):
        alone = has & (owners.sum(0) == 1)
        for name in _list_by_token(merged):
            merged[name][alone] = parent[name][alone]
    return merged, joint


def join_vocabularies(
    models: Sequence[State], vocabularies: Sequence[Vocabulary], n_owners: int | None = None
) -> tuple[list[State], dict[str, int], list[Tensor]]:
    """Every model over the tokens of all of them, the row of each token there, and where each model's own rows went.

    `models` and `vocabularies` belong together. A row that a model lacks is the mean of the rows of the first `n_owners` models
    (all by default) that have it, or of any model that has it, so that an average of the models leaves it as it is.
    """
    if len(models) < 2:
        raise UsageError(f"A merge takes two models or more, and {len(models)} was given.")
    if len(models) != len(vocabularies):
        raise UsageError(
            f"{len(vocabularies)} vocabularies were given for {len(models)} models; it takes one for each, the start too."
        )
    named = [_name_rows(v, _count_rows(model)) for v, model in zip(vocabularies, models)]
    joint = {token: i for i, token in enumerate(dict.fromkeys(t for tokens in named for t in tokens))}
    if not set.intersection(*map(set, named)):
        raise UsageError(
            "The models have no token in common, so that their embeddings cannot be brought together.",
            hint="Read all vocabularies in one spelling: a leading space may be written in several ways.",
        )
    places = [torch.tensor([joint[token] for token in tokens]) for tokens in named]
    has = torch.stack([_mark_rows(at, len(joint)) for at in places])
    out = [dict(model) for model in models]
    for names in zip(*(_group_tied(model) for model in models)):
        if len(set(names)) > 1:
            raise UsageError(
                f"The models are not of one architecture: '{names[0][0]}' is tied in one of them only or has no rows of tokens.",
                hint="Untie all of them, or none.",
            )
        pairs = zip(models, places)
        wide = torch.stack([_spread_rows(model[names[0][0]], at, len(joint)) for model, at in pairs])
        for model, weight in zip(out, _fill_rows(wide, has, n_owners or len(models))):
            model.update(dict.fromkeys(names[0], weight))
    return out, joint, places


def _fill_rows(wide: Tensor, has: Tensor, n_owners: int) -> Tensor:
    """Rows (models, tokens, ...) with those that a model has not (models, tokens) filled in from the models that have them."""
    has = has[(...,) + (None,) * (wide.ndim - 2)]
    of_owners = (wide * has)[:n_owners].sum(0) / has[:n_owners].sum(0).clamp_min(1)
    of_any = (wide * has).sum(0) / has.sum(0).clamp_min(1)
    return torch.where(has, wide, torch.where(has[:n_owners].any(0), of_owners, of_any))


def _spread_rows(weight: Tensor, at: Tensor, n: int) -> Tensor:
    """A weight's rows at the given places of `n`, zeros in between."""
    return weight.new_zeros(n, *weight.shape[1:]).index_copy(0, at, weight)


def _spell_text(text: Tensor, at: Tensor) -> Tensor:
    """A text in the tokens of all models, from a model's own whose rows went to the given places."""
    if text.numel() and not 0 <= int(text.min()) <= int(text.max()) < len(at):
        raise UsageError(
            f"A text has tokens {int(text.min())} to {int(text.max())}, and its model has rows 0 to {len(at) - 1}.",
            hint="Texts are in the tokens of the parent that they belong to.",
        )
    return at[text]


def _mark_rows(at: Tensor, n: int) -> Tensor:
    """True at the given places of `n`."""
    return torch.zeros(n, dtype=torch.bool).index_fill(0, at, True)


def _list_by_token(state: Mapping[str, Tensor]) -> list[str]:
    """Names of the weights that have a row for every token."""
    return [name for name in state if name.endswith(BY_TOKEN)]


def _group_tied(state: State) -> list[tuple[str, ...]]:
    """Weights by token, those that are one tensor in memory together."""
    tied = [names for names in _list_tied(state) if names[0].endswith(BY_TOKEN)]
    return sorted(tied + [(n,) for n in _list_by_token(state) if not any(n in names for names in tied)])


def _count_rows(state: State) -> int:
    """How many tokens a model has rows for; all its weights by token must agree."""
    sizes = {len(state[name]) for name in _list_by_token(state)}
    if len(sizes) != 1:
        raise UsageError(
            f"A model to be merged by its tokens has embeddings of {sorted(sizes) or 'no'} rows; it takes one number of rows.",
            hint=f"Weights with a row for every token end in {', '.join(BY_TOKEN)}.",
        )
    return sizes.pop()


def _name_rows(vocabulary: Vocabulary, n: int) -> list[str]:
    """The token of each of `n` rows. A row without a token, as models whose embedding was filled up have, is named by its place."""
    if not isinstance(vocabulary, Mapping) or not vocabulary:
        raise UsageError(
            "A vocabulary is a table of tokens with the row of each, and what was given has none.",
            hint="load_tokenizer(folder).vocabulary is one.",
        )
    tokens: dict[int, str] = {}
    for token, row in vocabulary.items():
        if not isinstance(row, int) or not 0 <= row < n:
            raise UsageError(f"The token '{token}' has the row {row!r}, and the model has rows 0 to {n - 1}.")
        if row in tokens:
            raise UsageError(f"The tokens '{tokens[row]}' and '{token}' have the same row {row}.")
        tokens[row] = token
    return [tokens.get(i, f"<row {i}>") for i in range(n)]
