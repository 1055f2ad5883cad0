"""The room on a user's own models: what `digsite read` prints, as plain data."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from digsite.base.errors import UsageError
from digsite.read.core.population import NetworkGroup, Population, stack_models
from digsite.read.core.reader import Reader, load_reader
from digsite.read.core.trust import OUTSIDE
from digsite.read.judge import lineage
from digsite.read.judge.answers import (
    head_of,
    is_something_planted,
    relate_candidates,
    say_what_it_is,
    what_does_it_know,
    what_was_done,
    where_from,
)
from digsite.read.judge.condition import Training, check_training
from digsite.read.judge.describe import describe_layers, read_share
from digsite.read.judge.diff import compare_checkpoints
from digsite.read.subjects.network import Network, network_of, read_networks
from digsite.weights import read_weights
from digsite.weights.bundle import is_large, say_unread, shape_of
from digsite.weights.formats.folder import SINGLES
from digsite.weights.sources.local import make_module

_LARGEST = 2_000_000  # weights; the zoos of readers of any shape hold networks of a hundredth of it
SHIPPED = Path(__file__).parent / "subjects" / "shipped"


@dataclass(frozen=True)
class ReadModel:
    """What was read, as tables; `answers` to the four questions; `notes` begin with what was not understood."""

    model: str
    layers: pd.DataFrame
    skipped: pd.DataFrame
    predictions: pd.DataFrame
    notes: tuple[str, ...]
    answers: pd.DataFrame = field(default_factory=pd.DataFrame)

    def __repr__(self) -> str:
        head = f"{self.model}: {len(self.layers)} layers read, {len(self.skipped)} tensors skipped"
        return "\n".join([head, *self.notes])


def read(model: Any, reader: str | None = None) -> ReadModel:
    """What the weights of a module, a state dict or a reference say: `digsite.read("model.safetensors").layers`.

    `reader` is the path of a saved reader; without one a shipped reader answers if it knows networks of this shape.
    """
    reading = read_model(model, reader)
    layers, skipped, predictions = (
        pd.DataFrame(reading[key]) for key in ("layers", "skipped", "predictions")
    )
    name = model if isinstance(model, str) else f"a {type(model).__name__}"
    answers = pd.DataFrame(reading["answers"])
    return ReadModel(name, layers, skipped, predictions, tuple(reading["notes"]), answers)


def open_reference(reference: Any) -> Any:
    """A module for `py:`, which can be run; weights for everything else, with the config that lies beside a file.

    What is no reference (a module, a dict of tensors) is taken as it is.
    """
    if not isinstance(reference, str):
        return reference
    if reference.startswith("py:"):
        return make_module(reference.removeprefix("py:"))
    path = Path(reference.removeprefix("file:")).expanduser()
    if path.is_file() and (path.parent / "config.json").is_file():
        if path.name in SINGLES:  # a Hugging Face folder named by its one file
            return read_weights(f"file:{path.parent}")
        bundle = read_weights(reference)
        return replace(bundle, meta={"config": _read_config(path.parent / "config.json"), **bundle.meta})
    return read_weights(reference)


def _read_config(path: Path) -> dict[str, Any]:
    """A config that is no JSON object says nothing; the weights are read without it."""
    try:
        settings = json.loads(path.read_text())
    except (ValueError, OSError):
        return {}
    return settings if isinstance(settings, dict) else {}


def read_model(reference: Any, reader_path: str | None = None, against: str | None = None) -> dict[str, Any]:
    """Four answers, predictions, layers, what was skipped, and sentences on how far to trust it.

    `against` is a folder of models among which the network's relatives are looked for.
    """
    model = open_reference(reference)
    people = stack_models([model])
    group = people.groups[0]
    network = _network_of(reference if isinstance(reference, str) else type(reference).__name__, model, group)
    training = check_training(network.weights)
    facts: dict[str, Any] = {
        "model": reference if isinstance(reference, str) else type(reference).__name__,
        "answers": [],
        "predictions": [],
        "layers": describe_layers(people).to_dict("records"),
        "skipped": [{"tensor": s.tensor, "reason": s.reason} for s in group.graph.skipped],
        "notes": [*say_unread(model), *group.graph.notes],
    }
    named = load_reader(reader_path) if reader_path else None  # a wrong path is said before anything else
    why_not = _predict_where_possible(facts, named, people, training)
    candidates = None
    if against:
        candidates = relate_candidates(network, read_networks(Path(against).expanduser(), least=1).networks)
    head = head_of(network, group.graph)
    classes = network.shape(head[0])[0] if head else None
    facts["what"] = say_what_it_is(group, read_share(people))
    answers = (
        where_from(network, candidates),
        what_was_done(network, training, candidates or ()),
        is_something_planted(network, group.graph, training),
        what_does_it_know(
            facts["predictions"], facts.get("in_zoo"), why_not, classes, facts.pop("holds_for", "")
        ),
    )
    facts["answers"] = [asdict(a) | {"sureness": a.sureness} for a in answers]
    return facts


def _network_of(reference: str, model: Any, group: NetworkGroup) -> Network:
    """With its config, from which heads and nonlinearities are read."""
    tensors = getattr(model, "tensors", None)
    if not isinstance(tensors, Mapping) or not is_large(tensors):
        tensors = {k: t[0] for k, t in group.stored.items()}
    meta = getattr(model, "meta", None) or {}
    return network_of(reference.rpartition("/")[2], tensors, meta.get("config"))


def _predict_where_possible(
    facts: dict[str, Any], named: Reader | None, people: Population, training: Training
) -> str:
    """Fills in the predictions, or says why there are none."""
    if len(people.groups[0].graph.blocks) < 2:
        why = "a single layer: there is no network around it, so nothing is predicted."
    elif (reader := named or shipped_for(people)) is None:
        why = "no shipped reader knows networks of this shape: train one with `digsite run nwa`."
    else:
        write_predictions(facts, reader, people, training.trained)
        return ""
    facts["notes"].append(why)
    return why


def shipped_for(people: Population) -> Reader | None:
    """The narrowest shipped reader that knows networks like these; their names in the folder run from narrow to wide.

    A reader of any shape would answer everybody, so it is asked only about networks that lie among those of its zoos,
    and not about large ones: those would be read whole to be called outside.
    """
    weights = sum(prod(shape_of(g.stored, name)) for g in people.groups for name in g.stored)
    for path in sorted(SHIPPED.glob("*.safetensors")):
        reader = load_reader(path)
        if reader.over_recipes and weights > _LARGEST:
            continue
        try:
            reader.answers(people)
        except UsageError:
            continue
        if not reader.over_recipes or (reader.p_values(people) >= OUTSIDE).all():
            return reader
    return None


def write_predictions(facts: dict[str, Any], reader: Reader, people: Population, trained: bool) -> None:
    """The reader's rows with their intervals, and sentences on how far they hold, into `facts`.

    A network that looks untrained is outside, whatever its p: networks that hardly learned are members of the zoo.
    """
    predictions = reader.predict(people)
    inside, p = bool(predictions.in_zoo[0]) and trained, float(predictions.p_values[0])
    purpose = {t.name: t.purpose for t in reader.tasks}
    facts["in_zoo"] = inside
    facts["holds_for"] = "networks of any recipe" if reader.over_recipes else "networks like those of the zoo"
    facts["predictions"] = [
        {
            "property": r["task"],
            "value": r["value"],
            "low": None if r["set"] else r["low"],
            "high": None if r["set"] else r["high"],
            "probability": r["low"] if r["set"] else None,
            "90 % set": r["set"],
            "what": purpose[r["task"]],
        }
        for r in predictions.table.to_dict("records")
    ]
    zoo = f"the zoo '{reader.card['zoo']}' that the reader learned from (p = {p:.3f})"
    if not trained:
        facts["notes"].append(
            "it looks untrained, so it lies outside of every zoo of trained networks: do not trust the numbers above."
        )
    elif inside:
        facts["notes"].append(f"this model lies inside {zoo}.")
    else:
        facts["notes"].append(f"this model lies outside {zoo}: do not trust the numbers above.")
    if "worth" in reader.card:
        facts["notes"].append(
            "its reading of test accuracy ranks networks as well as "
            f"measuring on {reader.card['worth']:.0f} labeled images."
        )
    if reader.card["runs_the_network"]:
        facts["notes"].append("the network was run on synthetic inputs.")


def compare_models(first: str, second: str) -> dict[str, Any]:
    """What changed between two models, as plain data: rows by layer, distances, the verdict, and notes."""
    difference = compare_checkpoints(open_reference(first), open_reference(second))
    notes = [
        f"weights differ by {difference.distance:.4g} of their norm"
        + (
            f", and by {difference.matched:.4g} of the joint norm after matching neurons."
            if np.isfinite(difference.matched)
            else "; too large to be matched neuron by neuron."
        ),
        f"networks trained apart agree as well about the numbering of their neurons with p = {difference.p:.2g}.",
        f"{difference.verdict}.",
    ]
    if np.isfinite(difference.function):
        notes.append(f"outputs on random inputs differ by up to {difference.function:.3g} of their spread.")
    else:
        notes.append("the networks were not run: only weights are at hand.")
    return {
        "layers": difference.layers.to_dict("records"),
        "distance": difference.distance,
        "matched": difference.matched,
        "verdict": difference.verdict,
        "notes": notes,
    }


def trace_folder(folder: str, figure: str | None = None) -> dict[str, Any]:
    """Who in a folder was made from whom, as plain data: `edges`, `roots`, `unrelated` with reasons, `tree` in words.

    `figure` is a path under which the tree is drawn as well.
    """
    models = read_networks(Path(folder).expanduser())
    networks = models.networks
    names = [n.name for n in networks]
    traced = lineage.trace_networks(networks)
    if figure:
        from digsite.figures import save_figure  # whoever draws nothing does not wait for what draws
        from digsite.read.figures import readers as figures

        edges = [(e.parent, e.child, _edge_words(e)) for e in traced.edges]
        save_figure(
            figures.draw_lineage(names, edges),
            Path(figure).with_suffix(""),
            caption="Who was made from whom.",
        )
    return {
        "roots": [names[i] for i in traced.roots],
        "edges": [
            {
                "parent": names[e.parent],
                "child": names[e.child],
                "how": e.kind,
                "distance": e.distance,
                "p": e.p,
                "direction": e.direction,
                "kind_probability": e.certainty,
                "note": e.note,
            }
            for e in traced.edges
        ],
        "unrelated": [
            {
                "first": names[i],
                "second": names[j],
                "p": r.p,
                "reason": r.reason or "not told from networks trained apart",
            }
            for (i, j), r in traced.relations.items()
            if not np.isfinite(traced.distances[i, j])
        ],
        "left_out": [{"file": name, "reason": reason} for name, reason in models.left_out],
        "tree": draw_tree(names, traced),
        "notes": _lineage_notes(names, traced, networks),
    }


def _edge_words(edge: lineage.Edge) -> str:
    """A direction that is not sure is said to be so."""
    sure = max(edge.direction, 1 - edge.direction)
    return edge.kind if sure >= lineage.SURE else f"{edge.kind} (or the reverse)"


def draw_tree(names: list[str], tree: lineage.Lineage) -> str:
    """The lineage as lines of text: children below their parent, what was done in front of them."""
    below: dict[int, list[lineage.Edge]] = {}
    for edge in tree.edges:
        below.setdefault(edge.parent, []).append(edge)
    lines: list[str] = []

    def write(node: int, prefix: str, seen: frozenset[int]) -> None:
        edges = [e for e in below.get(node, []) if e.child not in seen]
        for number, edge in enumerate(edges):
            last = number + 1 == len(edges)
            p = "p < 1e-12" if edge.p < 1e-12 else f"p = {edge.p:.1g}"
            lines.append(
                f"{prefix}{'└─' if last else '├─'} {names[edge.child]}: {_edge_words(edge)}, {p}, direction {edge.direction:.2f}"
            )
            write(edge.child, prefix + ("   " if last else "│  "), seen | {edge.child})

    for root in tree.roots:
        lines.append(names[root] + ("" if root in below else ": related to nobody here"))
        write(root, "", frozenset({root}))
    return "\n".join(lines)


def _lineage_notes(names: list[str], tree: lineage.Lineage, networks: list[Any]) -> list[str]:
    """How many pairs were tested, and what the threshold promises for the whole folder."""
    tested = sum(r.how != "excluded" for r in tree.relations.values())
    notes = [
        f"{len(names)} models, {tested} pairs tested, {len(tree.relations) - tested} excluded by their shapes; an edge has p "
        f"of at most {tree.threshold:.2g}, so that a folder of unrelated models shows a false edge in 5 % of cases at most."
    ]
    buffers = sorted({b.rpartition(".")[2] for n in networks for b in n.buffers})
    if buffers:
        notes.append(f"not counted as weights: {', '.join(buffers[:6])}.")
    if "permuted copy" in {e.kind for e in tree.edges}:
        notes.append("a copy in another order has no direction: either may be the original.")
    return notes
