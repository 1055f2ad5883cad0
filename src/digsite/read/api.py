"""The room on a user's own models: what `digsite read` prints, as plain data."""

from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np

from digsite.base.errors import DigsiteError, NotFound, UsageError
from digsite.figures import save_figure
from digsite.read.core.population import Population, population
from digsite.read.core.reader import Reader, load_reader
from digsite.read.figures import readers as figures
from digsite.read.judge.describe import layers
from digsite.read.judge.diff import diff
from digsite.read.judge.lineage import lineage
from digsite.weights import read_weights
from digsite.weights.sources.py import make

SHIPPED = "digsite.read.subjects.shipped"


def open_model(reference: str) -> Any:
    """A module for `py:`, which can be run; weights for everything else."""
    return make(reference.removeprefix("py:")) if reference.startswith("py:") else read_weights(reference)


def read_model(reference: str, reader_path: str | None = None) -> dict[str, Any]:
    """Predictions, layers, what was skipped, and sentences on how far to trust it."""
    people = population([open_model(reference)])
    graph = people.groups[0].graph
    found: dict[str, Any] = {
        "model": reference,
        "predictions": [],
        "layers": layers(people).to_dict("records"),
        "skipped": [{"tensor": s.tensor, "reason": s.reason} for s in graph.skipped],
        "notes": list(graph.notes),
    }
    named = load_reader(reader_path) if reader_path else None  # a wrong path is said before anything else
    if len(graph.blocks) < 2:
        found["notes"].append("a single layer: there is no network around it, so nothing is predicted.")
        return found
    reader = named or shipped_for(people)
    if reader is None:
        found["notes"].append(
            "no shipped reader knows networks of this shape: train one with `digsite run nwa`."
        )
        return found
    _predict(found, reader, people)
    return found


def shipped_for(people: Population) -> Reader | None:
    """The shipped reader whose training networks had inputs, outputs and layers like these."""
    for path in sorted(files(SHIPPED).iterdir(), key=lambda p: p.name):
        if path.name.endswith(".safetensors"):
            with as_file(path) as file:
                reader = load_reader(file)
            try:
                reader.answers(people)
            except UsageError:
                continue
            return reader
    return None


def _predict(found: dict[str, Any], reader: Reader, people: Population) -> None:
    predictions = reader.predict(people)
    inside, p = bool(predictions.in_zoo[0]), float(predictions.p_values[0])
    purpose = {t.name: t.purpose for t in reader.tasks}
    found["in_zoo"] = inside
    found["predictions"] = [
        {
            "property": r["task"],
            "value": r["value"],
            "low": r["low"],
            "high": r["high"],
            "90 % set": r["set"],
            "what": purpose[r["task"]],
        }
        for r in predictions.table.to_dict("records")
    ]
    where = "inside" if inside else "OUTSIDE: do not trust the numbers above"
    found["notes"].append(f"this model lies {where} the reader's zoo '{reader.card['zoo']}' (p = {p:.3f}).")
    if "worth" in reader.card:
        found["notes"].append(
            "its reading of test accuracy ranks networks as well as "
            f"measuring on {reader.card['worth']:.0f} labeled images."
        )
    if reader.card["runs_the_network"]:
        found["notes"].append("the network was run on synthetic inputs.")


def compare_models(first: str, second: str) -> dict[str, Any]:
    found = diff(open_model(first), open_model(second))
    notes = [
        f"weights differ by {found.distance:.4g} of their norm, and by {found.matched:.4g} after matching neurons.",
        f"{found.verdict}.",
    ]
    if np.isfinite(found.function):
        notes.append(f"outputs on random inputs differ by up to {found.function:.3g} of their spread.")
    else:
        notes.append("the networks were not run: only weights are at hand.")
    return {
        "layers": found.layers.to_dict("records"),
        "distance": found.distance,
        "matched": found.matched,
        "verdict": found.verdict,
        "notes": notes,
    }


def trace_lineage(folder: str, figure: str | None = None) -> dict[str, Any]:
    names, flat = _models_in(Path(folder).expanduser())
    found = lineage(flat)
    if figure:
        edges = [(e.parent, e.child, e.how) for e in found.edges if e.how != "merged" or e.parent >= 0]
        save_figure(
            figures.lineage(names, edges), Path(figure).with_suffix(""), caption="Who was made from whom."
        )
    return {
        "roots": [names[i] for i in found.roots],
        "edges": [
            {"parent": names[e.parent], "child": names[e.child], "how": e.how, "distance": e.distance}
            for e in found.edges
        ],
    }


def _models_in(folder: Path) -> tuple[list[str], list[np.ndarray]]:
    if not folder.is_dir():
        raise NotFound(f"There is no folder '{folder}'.")
    names, flat, shape = [], [], None
    for path in sorted(folder.iterdir()):
        try:
            bundle = read_weights(f"file:{path}")
        except DigsiteError:  # a README beside the models is no model
            continue
        tensors = {
            k: bundle.tensors[k] for k in sorted(bundle.tensors) if bundle.tensors[k].is_floating_point()
        }
        own = {k: tuple(t.shape) for k, t in tensors.items()}
        if shape is not None and own != shape:
            raise UsageError(
                f"'{path.name}' has other tensors than '{names[0]}': lineage compares models of one shape."
            )
        shape = own
        names.append(path.stem)
        flat.append(np.concatenate([t.double().numpy().ravel() for t in tensors.values()]))
    if len(names) < 2:
        raise UsageError(f"'{folder}' holds {len(names)} models; a lineage needs at least two.")
    return names, flat
