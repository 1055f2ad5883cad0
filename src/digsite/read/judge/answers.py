"""Four questions about a stranger's network: where from, what was done to it, is something planted, what does it know?

Each is answered with a number for how far to trust it, or with the reason why it cannot be.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from digsite.base.errors import DigsiteError
from digsite.read.core.graph import Graph
from digsite.read.core.plan_transformer import is_state_space, kind_by_name
from digsite.read.core.population import NetworkGroup
from digsite.read.judge.condition import Training
from digsite.read.judge.edge_kinds import judge_edge
from digsite.read.judge.head_scan import HeadScan, scan_head
from digsite.read.judge.relation import RELATED, Relation, relate_networks
from digsite.read.judge.traces import derived_marks, zero_share
from digsite.read.subjects.network import Network
from digsite.weights.bundle import shape_of

_VOCABULARY = re.compile(r"(lm_head|embed|wte|W_U|W_E|unembed|tok_embeddings)")
_HEADS = re.compile(r"(^|\.)(fc|head|classifier|output|logits|out|final|linear)(\.\d+)?\.weight$")
_OPEN = 0.65  # up to this probability a direction is not told
_SPARSE = 0.1  # below it, zeros may come from elsewhere: tables of a transform, windows, padding
_RECURRENT = re.compile(r"weight_(ih|hh)")  # gates: their rows are no classes
SMALLEST = 1e-12  # p-values: rarer ones are not told apart
_MANY = 20_000  # outputs from which on they are a vocabulary, whatever they are called

PLANTED = "is something planted?"
UNTOLD = "cannot be told"  # how an answer begins that is none


@dataclass(frozen=True)
class StrangerAnswer:
    """One of the four answers, and how sure it is where that can be told: by `p`, how often chance alone gives as much, of an
    answer that was tested, or by `probability`, how often an answer given so is right, of one that was learned from examples.
    """

    question: str
    answer: str
    p: float | None = None
    probability: float | None = None

    @property
    def sureness(self) -> str:
        """In words, for brackets; empty where nothing is known."""
        if self.p is not None:
            return "p < 1e-12" if self.p < SMALLEST else f"p = {self.p:.2g}"
        if self.probability is None:
            return ""
        return "probability above 0.99" if self.probability > 0.99 else f"probability {self.probability:.2f}"


def say_what_it_is(group: NetworkGroup, share: float) -> str:
    """Family, size, and how much of it the graph reads: `share` is the part of the weights that the graph uses."""
    count = sum(prod(shape_of(group.stored, name)[1:]) for name in group.stored)
    return f"{_name_family(group.graph, list(group.stored))} of {count:,} weights, {share:.0%} of them placed in its graph."


def _name_family(graph: Graph, names: Sequence[str]) -> str:
    """From the kinds of blocks, and from `names` where no block stands for what they say: no config is needed."""
    kinds = {b.kind for b in graph.blocks}
    if kinds & {"qk", "vo"}:
        attentions = graph.blocks_of("qk")
        heads = attentions[0].heads if attentions else (1, 1)
        shown = f" with {heads[0]} heads" if heads[0] > 1 else ""
        return f"a transformer of {len(attentions)} attention layers{shown}"
    if n_mixers := len({name.rpartition("mixer.")[0] for name in names if is_state_space(name)}):
        return f"a state-space network of {_count_layers(n_mixers)}"
    if n_fused := sum(
        kind_by_name(name, 2) == "query, key and value" for name in names if "bias" not in name
    ):
        return f"a transformer of {n_fused} attention layers"
    if any(k.startswith("gate_") for k in kinds):
        return "a recurrent network"
    if "conv" in kinds:
        return f"a convolutional network of {_count_layers(len(graph.blocks))}"
    return f"a fully connected network of {_count_layers(len(graph.blocks))}"


def _count_layers(n: int) -> str:
    return "one layer" if n == 1 else f"{n} layers"


Candidates = Sequence[tuple[Relation, Network]]


def relate_candidates(network: Network, others: Sequence[Network]) -> Candidates:
    """How the network lies to each of the others: what two of the answers are read from."""
    return [(relate_networks(network, other), other) for other in others if other is not network]


def where_from(network: Network, candidates: Candidates | None) -> StrangerAnswer:
    """With a folder of others, the nearest relative with its p-value; alone, the marks that it carries itself.

    Every p-value is multiplied by the number of candidates, so that a large folder does not make relatives by chance.
    """
    question = "where is it from?"
    if candidates is None:
        named = network.config.get("_name_or_path") if isinstance(network.config, Mapping) else None
        hint = "nothing can be tested with one model: give a folder of candidates with --against FOLDER."
        return StrangerAnswer(question, f"its config names '{named}'; beyond that {hint}" if named else hint)
    tested = [r for r, _ in candidates if r.how != "excluded"]
    if not tested:
        return StrangerAnswer(
            question, candidates[0][0].reason if candidates else "the folder holds no other model."
        )
    related = [(r, n) for r, n in candidates if r.related and r.p * len(tested) < 0.05]
    if not related:
        best = min(tested, key=lambda r: r.p)
        return StrangerAnswer(
            question,
            f"unrelated to all {len(tested)} candidates of its shape (smallest p {min(1.0, best.p * len(tested)):.2g}).",
        )
    relation, nearest = min(related, key=lambda pair: _distance_to(pair[0]))
    more = f"; {len(related)} of {len(tested)} candidates are related" if len(related) > 1 else ""
    return StrangerAnswer(
        question,
        f"related to '{nearest.name}' (distance {_distance_to(relation):.3g}){more}; "
        "`digsite read FOLDER --lineage` says in which direction.",
        min(1.0, relation.p * len(tested)),
    )


def _distance_to(relation: Relation) -> float:
    """After matching, where the two were matched."""
    return relation.match.distance if relation.match and relation.how == "matched" else relation.distance


def what_was_done(network: Network, training: Training, candidates: Candidates = ()) -> StrangerAnswer:
    """Was it trained, pruned, rounded; and, where a relative is at hand, what lies between the two.

    How sure is told of the last thing said: the probability of the kind of change where there is a relative, else p of "trained".
    """
    question = "what was done to it?"
    if not training.trained:
        return StrangerAnswer(question, training.answer)  # a large p is no probability of the null
    words = [training.answer.rstrip("."), *_own_marks(network)]
    relation, nearest = _nearest_relative(network, candidates)
    if nearest is None or relation is None:
        return StrangerAnswer(question, "; ".join(words) + ".", training.p)
    judgement = judge_edge(nearest, network, relation)
    first, then = (nearest.name, "it") if judgement.forward >= 0.5 else ("it", nearest.name)
    judgement = judgement if judgement.forward >= 0.5 else judgement.turned()
    order = (
        f"{first} before {then} with probability {judgement.forward:.2f}"
        if judgement.forward > _OPEN
        else "which of the two came first is open"
    )
    words.append(
        f"between it and '{nearest.name}': {judgement.kind} (probability {judgement.certainty:.2f}), {order}"
    )
    return StrangerAnswer(question, "; ".join(words) + ".", probability=judgement.certainty)


def _nearest_relative(
    network: Network, candidates: Candidates
) -> tuple[Relation, Network] | tuple[None, None]:
    """The related candidate that lies nearest, with the relation read from it to the network."""
    tested = sum(r.how != "excluded" for r, _ in candidates)
    kin = [other for r, other in candidates if r.related and r.p * tested < RELATED]
    pairs = [(relate_networks(other, network), other) for other in kin]
    return min(pairs, key=lambda pair: _distance_to(pair[0])) if pairs else (None, None)


def _own_marks(network: Network) -> list[str]:
    """What pruning and rounding left in the weights themselves, in words."""
    marks, words = derived_marks(network), []
    if "sparse" in marks:
        share = zero_share(network)
        words.append(
            f"{share:.0%} of its weights are zero: {'it was' if share > _SPARSE else 'perhaps'} pruned"
        )
    if "rounded" in marks:
        words.append("its weights lie on a grid: it was rounded")
    if "short" in marks:
        words.append("its weights are short floats")
    return words


def is_something_planted(network: Network, graph: Graph, training: Training) -> StrangerAnswer:
    """The output layer read for one class that stands out; a vocabulary or an untrained network has no such class."""
    if not training.trained:
        return StrangerAnswer(PLANTED, "no: nothing has been learned.")
    names = head_of(network, graph)
    if names is None:
        return StrangerAnswer(PLANTED, f"{UNTOLD}: no output layer with classes was found.")
    head, feeding = names
    count = network.shape(head)[0]
    if _VOCABULARY.search(head) or count > _MANY:
        return StrangerAnswer(
            PLANTED,
            f"{UNTOLD}: the {count:,} outputs of {head} are a vocabulary, and no reading of its rows is calibrated.",
        )
    rows = network.weights[head]
    try:
        scan: HeadScan = scan_head(rows.flatten(1), network.weights[feeding] if feeding else None)
    except DigsiteError as error:
        return StrangerAnswer(PLANTED, f"{UNTOLD}: {error}")
    return StrangerAnswer(PLANTED, scan.answer, scan.p if scan.alarm else None)


def head_of(network: Network, graph: Graph) -> tuple[str, str | None] | None:
    """Names of the output matrix and of the matrix that feeds it: from the graph, else from names, else the last two.

    A network's names have lost the prefix that all of them had (`model.`), the graph's have not.
    """
    inside = {name: own for own in network.weights for name in graph.read if name.endswith(own)}
    out = [
        b
        for b in graph.blocks
        if graph.nodes[b.target].is_output
        and b.layout == "oi"
        and b not in graph.blocks_of("embedding")
        and not _RECURRENT.search(b.tensors[0])
    ]
    if out and out[-1].tensors[0] in inside:
        before = [inside.get(b.tensors[0], "") for b in graph.blocks if b.target == out[-1].source]
        feeding = before[-1] if before and before[-1] in network.matrices else None
        return inside[out[-1].tensors[0]], feeding
    named = [k for k in network.matrices if _HEADS.search(k) and len(network.shape(k)) == 2]
    if not named and graph.blocks_of("qk"):
        return None  # its last matrix writes hidden states
    flat = named or [k for k in network.matrices if len(network.shape(k)) == 2 and not _RECURRENT.search(k)]
    return (flat[-1], None) if flat else None


def what_does_it_know(
    predictions: Sequence[Mapping[str, Any]],
    in_zoo: bool | None,
    why_not: str,
    classes: int | None,
    holds_for: str = "networks like those of the zoo",
) -> StrangerAnswer:
    """A reader's accuracy with its interval, if the network is like those that the reader learned from.

    `predictions` are the rows that `digsite read` prints; `why_not` ends the refusal where there are none; `classes` is
    the number of rows of the output layer, if one was found; `holds_for` the networks that the interval is promised for.
    """
    question = "what does it know?"
    tells = f"it tells {classes} classes apart; " if classes else ""
    if classes and classes > _MANY:
        tells = f"it chooses among the {classes:,} tokens of a vocabulary; "
    prediction = next((p for p in predictions if p["property"] == "test_accuracy"), None)
    if prediction is None:
        return StrangerAnswer(question, f"{tells}how well cannot be told without its data: {why_not}")
    words = f"accuracy {prediction['value']:.2f}, 90 % interval {prediction['low']:.2f} to {prediction['high']:.2f}"
    if not in_zoo:
        return StrangerAnswer(
            question,
            f"{tells}how well cannot be told: it lies outside of the zoo, where {words} would not hold.",
        )
    return StrangerAnswer(question, f"{tells}{words}, for {holds_for}.")
