"""Several fine-tuned models made into one: a class per way, found by its base, all on named weights of one shape."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import ClassVar

from torch import Tensor

from digsite.base import families
from digsite.base.errors import UsageError, name_nearest

FAMILY = "digsite.graft.core.merges"
State = dict[str, Tensor]
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
                    hint="Another width or tokenizer cannot be merged weight by weight.",
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
