"""The rank-one components of one module: how strong, when used, what they read and write; switch some off."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from digsite.base.errors import UsageError
from digsite.base.stored import parse_json, read_json
from digsite.serve import toys
from digsite.serve.places import read_whole, read_wholes
from digsite.serve.tensor_files import Stored, open_tensor, read_header
from digsite.serve.toys import effects_of
from digsite.serve.views import View, ViewKind

SHOWN = 120
CELLS = 400


@dataclass(frozen=True)
class Parts:
    """V (d_in, C) and U (C, d_out) as the module uses them, and the target around it."""

    module: str
    V: np.ndarray
    U: np.ndarray
    kind: str
    config: dict[str, Any]
    weights: dict[str, np.ndarray]

    @cached_property
    def norms(self) -> np.ndarray:
        return np.linalg.norm(self.V, axis=0) * np.linalg.norm(self.U, axis=1)

    @property
    def toy(self) -> bool:
        return f"{self.module}.weight" in self.weights and toys.fits_weights(
            self.kind, self.config, self.weights
        )

    def without(self, off: list[int]) -> dict[str, np.ndarray]:
        """The target's weights with components taken out of this module."""
        change = self.V[:, off] @ self.U[off]
        name = f"{self.module}.weight"
        return {**self.weights, name: self.weights[name] - change.T}


class Components(ViewKind):
    """The rank-one components of one module: how strong, when used, what they read and write; switch some off.

    Source: the tensor V (d_in, components); U lies beside it under the same name. Options: module, importance (mean causal
    importance per component), probes (importance per input feature and component). The file's metadata names the target;
    a toy model's outputs are computed here, with chosen components taken out of its weights. For a language model the run has
    stored what each of the most used components does to its answers: prompts, answers, numbers, kl, first, words, the same for
    some sets of them (sets, kl_of_sets, first_of_sets), and a page about each (pages).
    """

    @staticmethod
    def read_data(view: View, params: Any) -> dict[str, Any]:
        parts, effects = _parts_of(view), effects_of(view)
        importance, probes = _optional_tensor(view, "importance"), _optional_tensor(view, "probes")
        strength = parts.norms
        used = importance if importance is not None and len(importance) == len(strength) else None
        order = np.argsort(-(strength if used is None else used), kind="stable")[:SHOWN]
        answer: dict[str, Any] = {
            "module": parts.module,
            "total": len(strength),
            "toy": parts.toy,
            "probed": probes is not None,
            "components": [_one_component(parts, int(c), used, probes) for c in order],
            **{key: view.options[key] for key in ("caption",) if key in view.options},
        }
        if parts.toy:
            answer |= _outputs_of(parts, params, len(strength))
        if effects:
            summaries = effects.summaries()
            answer["components"] = [{**c, **summaries.get(c["number"], {})} for c in answer["components"]]
            answer |= effects.without(_switched_off(params, len(strength)))
        pages = _pages_of(view, parts.module)
        answer["paged"] = sorted(int(c) for c in pages)
        answer["components"] = [
            {**c, **_summary_of(pages.get(str(c["number"]), {}))} for c in answer["components"]
        ]
        if asked := pages.get(str(params.get("page", ""))):
            answer["page"] = asked
        return answer


def _one_component(
    parts: Parts, c: int, importance: np.ndarray | None, probes: np.ndarray | None
) -> dict[str, Any]:
    reads, writes = parts.V[:, c], parts.U[c]
    shown: dict[str, Any] = {
        "number": c,
        "norm": parts.norms[c],
        "reads": _thin_vector(reads),
        "writes": _thin_vector(writes),
        "reads_most": int(np.abs(reads).argmax()),
        "writes_most": int(np.abs(writes).argmax()),
    }
    if importance is not None:
        shown["importance"] = importance[c]
    if probes is not None and c < probes.shape[1]:
        best = np.argsort(-probes[:, c], kind="stable")[:3]
        shown["features"] = [
            {"feature": int(f), "importance": probes[f, c]} for f in best if probes[f, c] > 0.05
        ]
    return shown


def _thin_vector(vector: np.ndarray) -> np.ndarray:
    """At most 48 numbers for a strip: means over neighbors."""
    if len(vector) <= 48:
        return vector
    return np.array([piece.mean() for piece in np.array_split(vector, 48)])


def _outputs_of(parts: Parts, params: Any, n: int) -> dict[str, Any]:
    off = _switched_off(params, n)
    features = parts.config["n_features"]
    feature, size = min(read_whole(params.get("feature", "")), features - 1), params.get("size", "1")
    x = np.zeros((1, features))
    x[0, feature] = _number_of(size)
    before = toys.run_forward(parts.kind, parts.config, parts.weights, x)[0]
    after = toys.run_forward(parts.kind, parts.config, parts.without(off), x)[0]
    return {
        "features": features,
        "feature": feature,
        "size": x[0, feature],
        "off": off,
        "before": before,
        "after": after,
    }


def _switched_off(params: Any, n: int) -> list[int]:
    return read_wholes(params.get("off", ""), below=n)


def _number_of(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 1.0
    return value if abs(value) <= 1e6 else 1.0


def _parts_of(view: View) -> Parts:
    tensors, metadata = read_header(view.path)
    settings = _toy_settings(metadata)
    owner = view.key.removeprefix("parts/").removesuffix("/V")
    module = str(view.options.get("module", owner))
    v = open_tensor(view.path, view.key).read().astype(float)
    u = open_tensor(view.path, f"{view.key.removesuffix('V')}U").read().astype(float)
    if v.ndim != 2 or u.ndim != 2 or v.shape[1] != u.shape[0]:
        raise UsageError(f"'{view.source}' holds no rank-one components.")
    if module != owner:  # a module tied to its owner uses the transposed product
        v, u = u.T, v.T
    config = settings.get("model")
    config = config if isinstance(config, dict) else {}
    kind = str(config.get("kind", ""))
    weights = _target_weights(tensors) if toys.can_run(kind, config) else {}
    return Parts(module, v, u, kind, config, weights)


def _toy_settings(metadata: dict[str, str]) -> dict[str, Any]:
    settings = parse_json(str(metadata.get("decomposition", "{}")))
    return settings if isinstance(settings, dict) else {}


def _target_weights(tensors: dict[str, Stored]) -> dict[str, np.ndarray]:
    return {
        k.removeprefix("target/"): t.read().astype(float)
        for k, t in tensors.items()
        if k.startswith("target/")
    }


def _pages_of(view: View, module: str) -> dict[str, Any]:
    """What the run says of its most used components, by number; older runs say nothing."""
    if "pages" not in view.options:
        return {}
    path, _ = view.sibling(str(view.options["pages"]))
    pages = read_json(path, kind=dict)
    module_pages = pages.get(module) if isinstance(pages, dict) else None
    if not isinstance(module_pages, dict):
        raise UsageError(f"'{path.name}' holds no pages of '{module}'.")
    return {c: page for c, page in module_pages.items() if c.isdigit() and isinstance(page, dict)}


def _summary_of(page: dict[str, Any]) -> dict[str, Any]:
    """The three tokens that a component is used on most, and whether it is rather about first positions, as its page says."""
    rows, first = page.get("tokens"), page.get("first")
    rows = rows if isinstance(rows, list) else []
    return {
        "words": [row[0] for row in rows[:3] if isinstance(row, list) and row and isinstance(row[0], str)],
        "mostly_first": isinstance(first, float) and first > 0.5,
    }


def _optional_tensor(view: View, name: str) -> np.ndarray | None:
    if name not in view.options:
        return None
    path: Path
    path, key = view.sibling(str(view.options[name]))
    return open_tensor(path, key).read().astype(float)
