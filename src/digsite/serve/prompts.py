"""What a language model answers to stored prompts without one component; the run computed it, nothing is run here."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from digsite.base.errors import UsageError
from digsite.base.stored import read_json
from digsite.serve.tensors.stored import open_tensor
from digsite.serve.views import View


@dataclass(frozen=True)
class Effects:
    """Row i of kl and first belongs to component numbers[i], each switched off alone."""

    prompts: np.ndarray  # (prompts, tokens)
    answers: np.ndarray  # (prompts, answers): one per token, or one per prompt
    numbers: np.ndarray
    kl: np.ndarray  # (components, prompts, answers), nats
    first: np.ndarray  # the token that comes first without the component
    words: dict[str, str]

    def summaries(self) -> dict[int, dict[str, Any]]:
        """By component: mean divergence, and how many answers change."""
        changed = (self.first != self.answers).sum(axis=(1, 2))
        means = self.kl.mean(axis=(1, 2))
        return {int(c): {"kl": kl, "changed": n} for c, kl, n in zip(self.numbers, means, changed)}

    def without(self, component: int | None) -> dict[str, Any]:
        """The prompts as words, and at each answer how far it moved and what it became."""
        found = np.flatnonzero(self.numbers == component)
        kl, first = np.zeros(self.answers.shape), self.answers
        if len(found):
            kl, first = self.kl[found[0]], self.first[found[0]]
        return {
            "prompts": self._said(self.prompts),
            "answers": self._said(self.answers),
            "first": self._said(first),
            "kl": kl,
            "most": self.kl.max(initial=0.0),
            "off": [component] if len(found) else [],
        }

    def _said(self, tokens: np.ndarray) -> list[list[str]]:
        return [[self.words.get(str(int(token)), str(int(token))) for token in row] for row in tokens]


def effects_of(view: View) -> Effects | None:
    """What the view declares; older runs declare nothing of this."""
    if not {"kl", "first", "prompts", "answers", "numbers", "words"} <= view.options.keys():
        return None
    read = {
        name: open_tensor(*view.sibling(str(view.options[name]))).read()
        for name in ("prompts", "answers", "numbers", "kl", "first")
    }
    shape = (len(read["numbers"]), *read["answers"].shape)
    if (
        read["kl"].shape != shape
        or read["first"].shape != shape
        or len(read["prompts"]) != len(read["answers"])
    ):
        raise UsageError(f"The effects of '{view.name}' do not fit its prompts.")
    path, _ = view.sibling(str(view.options["words"]))
    words = read_json(path, kind=dict)
    if not isinstance(words, dict):
        raise UsageError(f"'{path.name}' holds no words.")
    return Effects(**read, words={str(k): str(v) for k, v in words.items()})
