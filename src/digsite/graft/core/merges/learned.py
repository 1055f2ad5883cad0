"""A merge whose weights are learned: how much every row of every change counts, from what the parents answer on their own text."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from digsite.base.errors import UsageError
from digsite.base.streams import derive_seed
from digsite.graft.core.merges import Evidence, Merge, MergeSettings, Speak, State

MOST = 5.0  # nats at one token: beyond it a parent is sure and the start was wrong, and more would drown the other tokens
BATCH = 16  # windows of every parent that a step looks at


class Imitation(Merge):
    """Each row of each change counts as much as makes the merge answer like a parent where its tuning changed the answer.

    Weights of whole tensors from unlabelled text are AdaMerging's idea (arXiv 2310.02575). Here the loss is the divergence
    from each parent on its own text, every token weighed by how far that parent moved from the start there: on all the
    other tokens a parent is as ignorant as the start, and imitating it would undo what the other one learned.
    """

    NEEDS = ("start", "speak", "texts")

    @staticmethod
    def merge_states(parents: list[State], evidence: Evidence, settings: MergeSettings) -> State:
        """The start plus every change times its learned weights, which begin at the settings' scale."""
        start, speak = evidence.start, evidence.speak
        assert start is not None and speak is not None, "checked by merge_models"
        if len(evidence.texts) != len(parents):
            raise UsageError(
                f"Imitation takes one text of every parent, and {len(evidence.texts)} were given for {len(parents)} parents."
            )
        changes = [{name: parent[name] - w for name, w in start.items()} for parent in parents]
        weights = [
            {name: _begin_weights(w, settings).requires_grad_() for name, w in start.items()} for _ in parents
        ]
        _learn_weights(start, changes, weights, parents, speak, evidence.texts, settings)
        with torch.no_grad():
            return add_weighed(start, changes, weights)


def add_weighed(start: State, changes: Sequence[State], weights: Sequence[State]) -> State:
    """`start` + sum of `changes`, each times its `weights`, which broadcast over a tensor or over its rows."""
    return {
        name: w + torch.stack([k[name] * c[name] for k, c in zip(weights, changes, strict=True)]).sum(0)
        for name, w in start.items()
    }


def weigh_tokens(
    start: Float[Tensor, "n length vocab"], parent: Float[Tensor, "n length vocab"]
) -> Float[Tensor, "n length"]:
    """How far a parent's answer is from the start's at each token, from both log-probabilities, relative to the mean."""
    moved = F.kl_div(start, parent, log_target=True, reduction="none").sum(-1).clamp(max=MOST)
    return moved / moved.mean().clamp_min(1e-12)


def _begin_weights(weight: Tensor, settings: MergeSettings) -> Tensor:
    """A weight for each row of a tensor, or one for all of it, at the settings' scale."""
    rows = (weight.shape[0],) if settings.by_row else (1,)
    return torch.full(rows + (1,) * (weight.ndim - 1), settings.scale)


def _learn_weights(
    start: State,
    changes: list[State],
    weights: list[State],
    parents: list[State],
    speak: Speak,
    texts: Sequence[Tensor],
    settings: MergeSettings,
) -> None:
    """Adam on the weights, in place; every parent's answers are worked out once."""
    with torch.no_grad():
        own = [_log_answers(speak, parent, text) for parent, text in zip(parents, texts, strict=True)]
        before = [_log_answers(speak, start, text) for text in texts]
        tokens = [weigh_tokens(b, p) for b, p in zip(before, own, strict=True)]
    # Not by the trainer: what is learned are shares of a sum, and no weights of a module.
    solver = torch.optim.Adam([w for part in weights for w in part.values()], settings.rate)
    draw = torch.Generator().manual_seed(derive_seed(settings.seed, "graft/imitation"))
    with torch.enable_grad():
        for _ in range(int(settings.steps)):
            merged, loss = add_weighed(start, changes, weights), torch.zeros(())
            for text, answers, share in zip(texts, own, tokens, strict=True):
                pick = torch.randint(len(text), (min(BATCH, len(text)),), generator=draw)
                said = _log_answers(speak, merged, text[pick])
                gap = F.kl_div(said, answers[pick], log_target=True, reduction="none").sum(-1)
                loss = loss + (share[pick] * gap).mean()
            solver.zero_grad(set_to_none=True)
            loss.backward()
            solver.step()


def _log_answers(speak: Speak, state: State, rows: Tensor) -> Float[Tensor, "n length vocab"]:
    """Log-probabilities of what follows each token but the last."""
    return speak(state, rows)[:, :-1].log_softmax(-1)
