"""Models from anywhere, grouped by shape and stacked, each group with its graph; and tables of numbers about them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.models import MODELS, build, parse
from digsite.read.core.graph import Graph, Skipped
from digsite.read.core.plain import to_plain_names, view_plain
from digsite.read.core.plan import plan_chain
from digsite.read.core.plan_transformer import is_transformer, plan_transformer
from digsite.weights.bundle import (
    LazyTensors,
    bundle_module,
    dtype_of,
    empty_tensors,
    is_large,
    read_apart,
    shape_of,
)

ACTIVATIONS = {
    "ReLU": "relu",
    "Tanh": "tanh",
    "GELU": "gelu",
    "SiLU": "silu",
    "Sigmoid": "sigmoid",
    "LeakyReLU": "leaky_relu",
    "Identity": "identity",
    "ELU": "elu",
    "Softplus": "softplus",
}


_PIECE = 1 << 21  # numbers that are looked at at once


@dataclass(frozen=True)
class Known:
    """What is known beside the weights ("" and None = not known)."""

    activation: str | tuple[str, ...] = ""  # one for all hidden layers, or one for each
    heads: tuple[int, int] | None = None
    tied: Mapping[str, str] = field(default_factory=dict)
    skeleton: nn.Module | None = None
    skips: tuple[int | None, ...] = ()  # for each layer, the earlier one that is added to it


@dataclass(frozen=True)
class ModelSource:
    """One model as tensors, with what is known beside them."""

    tensors: Mapping[str, Tensor]
    known: Known = field(default_factory=Known)


@dataclass(frozen=True)
class NetworkGroup:
    """Networks of equal shapes: stacked tensors, their graph, and their places in the population.

    Tensors of one large model stay on disk (`LazyTensors`): each is read, and left, by whoever asks for it.
    """

    graph: Graph
    tensors: Mapping[str, Tensor]
    rows: np.ndarray
    stored: Mapping[str, Tensor]  # under their own names, for running the networks
    skeleton: nn.Module | None = None  # a module of this shape; None where only weights are known

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, keep: np.ndarray, rows: np.ndarray) -> "NetworkGroup":
        """The members set in the boolean `keep`, at new places."""
        index = torch.from_numpy(np.flatnonzero(keep))
        tensors = {k: t[index] for k, t in self.tensors.items()}
        stored = {k: t[index] for k, t in self.stored.items()}
        return NetworkGroup(self.graph, tensors, rows, stored, self.skeleton)


@dataclass(frozen=True)
class Population:
    """Networks of several shapes, each shape stacked; `size` counts all."""

    groups: list[NetworkGroup]
    size: int

    def take(self, rows: Sequence[int] | np.ndarray) -> "Population":
        """The named members, renumbered in the order given."""
        position = np.full(self.size, -1)
        position[np.asarray(rows)] = np.arange(len(rows))
        groups = []
        for group in self.groups:
            keep = position[group.rows] >= 0
            if keep.any():
                groups.append(group.take(keep, position[group.rows[keep]]))
        return Population(groups, len(rows))

    def gather(self, per_group: Iterable[np.ndarray]) -> np.ndarray:
        """(size, ...): rows computed group by group (`per_group`, in the order of the groups), put back in the population's order."""
        parts = list(per_group)
        out = np.full((self.size, *parts[0].shape[1:]), np.nan, dtype=parts[0].dtype)
        for group, part in zip(self.groups, parts):
            out[group.rows] = part
        return out


def known_of(model: Mapping[str, Any], tied: Mapping[str, str] | None = None) -> Known:
    """What a stored model config says beside the weights: activation, heads, ties, skips, and a module that can be run."""
    activation = model.get("activation", "") or _published_activation(model)
    if "activations" in model:
        activation = tuple(model["activations"])
    skeleton = build(parse(dict(model))).eval() if model.get("kind") in MODELS else None
    return Known(activation, find_heads(model), dict(tied or {}), skeleton, tuple(model.get("skips") or ()))


def _published_activation(config: Mapping[str, Any]) -> str:
    """The activation under the names of published configs, without the words that tell its approximations apart."""
    for key in ("hidden_act", "activation_function", "hidden_activation", "feed_forward_proj"):
        if isinstance(config.get(key), str):
            name = config[key].lower().removeprefix("gated-")
            return next((known for known in ("gelu", "silu", "relu", "tanh") if known in name), "")
    return ""


def source_of(model: Any) -> ModelSource:
    """A `Source` from an nn.Module, a mapping of tensors, a weight bundle or a `Source`."""
    if isinstance(model, ModelSource):
        return model
    if isinstance(model, nn.Module):
        return _from_module(model)
    if isinstance(model, Mapping):
        return ModelSource(_tensors_only(model))
    if hasattr(model, "tensors") and isinstance(model.tensors, Mapping):
        return _from_bundle(model)
    raise UsageError(
        f"a {type(model).__name__} is not a model.",
        hint="Give an nn.Module, a dict of tensors, or what `digsite.weights.read_weights` returns.",
    )


def _tensors_only(model: Mapping) -> dict[str, Tensor]:
    """A state dict without counters and strings."""
    tensors = {str(k): v.detach() for k in model if isinstance(v := read_apart(model, k), Tensor)}
    if not tensors:
        raise UsageError("there is no tensor in this dict.", hint="A state dict maps names to tensors.")
    return tensors


def _from_module(model: nn.Module) -> ModelSource:
    """Nonlinearities by the modules' own names: weights alone do not show them."""
    config = getattr(model, "config", None)
    activations = sorted({ACTIVATIONS[k] for m in model.modules() if (k := type(m).__name__) in ACTIVATIONS})
    function = getattr(getattr(model, "activate", None), "__name__", "")
    declared = getattr(config, "activations", None) or getattr(config, "activation", None) or function
    activation = tuple(declared) if isinstance(declared, list) else declared
    if not activation and len(activations) == 1:
        activation = activations[0]
    bundle = bundle_module(model)
    skips = tuple(getattr(config, "skips", None) or ())
    known = Known(activation or "", find_heads(config, model), bundle.tied, model, skips)
    return ModelSource(_tensors_only(bundle.tensors), known)


def find_heads(config: Any, model: nn.Module | None = None) -> tuple[int, int] | None:
    """(query heads, key heads) as configs call them; None where nothing says."""

    def get(key: str) -> Any:
        return config.get(key) if isinstance(config, Mapping) else getattr(config, key, None)

    if config is not None:
        for key in ("n_heads", "num_attention_heads", "n_head", "heads", "num_heads"):
            if isinstance(get(key), int):
                return int(get(key)), int(get("n_kv_heads") or get("num_key_value_heads") or get(key))
    attention = (
        next((m for m in model.modules() if isinstance(m, nn.MultiheadAttention)), None) if model else None
    )
    return (attention.num_heads, attention.num_heads) if attention else None


def _from_bundle(bundle: Any) -> ModelSource:
    """The config is in the metadata."""
    meta = dict(getattr(bundle, "meta", {}) or {})
    config = next((meta[k] for k in ("model", "config") if isinstance(meta.get(k), Mapping)), meta)
    tensors = bundle.tensors if is_large(bundle.tensors) else _tensors_only(bundle.tensors)
    return ModelSource(tensors, known_of(config, dict(getattr(bundle, "tied", None) or {})))


def stack_models(models: Iterable[Any]) -> Population:
    """Stack models of equal shapes; each is checked once on the way in.

    `models`: modules, dicts of tensors, weight bundles or `ModelSource`s, in any mixture.
    """
    sources = [source_of(m) for m in models]
    if not sources:
        raise UsageError("there is no model to read.", hint="Give at least one.")
    groups: dict[str, list[int]] = {}
    for i, source in enumerate(sources):
        groups.setdefault(_shape_key(source), []).append(i)
    return Population(
        [_stack_sources([sources[i] for i in rows], rows) for rows in groups.values()], len(sources)
    )


def _shape_key(source: ModelSource) -> str:
    """Networks of one key are read as one stack."""
    known = source.known
    shapes = [(k, shape_of(source.tensors, k)) for k in source.tensors]
    return repr((shapes, known.activation, known.heads, sorted(known.tied.items()), known.skips))


def _stack_sources(sources: list[ModelSource], rows: list[int]) -> NetworkGroup:
    """(members, *shape) of every tensor of numbers."""
    first = sources[0]
    names = [n for n in first.tensors if shape_of(first.tensors, n) and _is_floating(first.tensors, n)]
    if len(sources) == 1 and isinstance(first.tensors, LazyTensors):
        stacked: Mapping[str, Tensor] = LazyTensors(
            {n: first.tensors.derive(n, _one_member, (1, *shape_of(first.tensors, n))) for n in names}
        )
    else:
        stacked = {n: torch.stack([s.tensors[n].to(torch.float32) for s in sources]) for n in names}
    odd = [Skipped(n, "a counter or mask, not a weight") for n in first.tensors if n not in stacked]
    return group_networks(stacked, np.array(rows), first.known, odd)


def _one_member(tensor: Tensor) -> Tensor:
    return tensor[None]


def _is_floating(tensors: Mapping[str, Tensor], name: str) -> bool:
    """A data type without a torch name is read as what it stands for."""
    kind = dtype_of(tensors, name)
    return kind is None or kind.is_floating_point


def group_networks(
    stacked: Mapping[str, Tensor], rows: np.ndarray, known: Known | None = None, odd: Sequence[Skipped] = ()
) -> NetworkGroup:
    """A group from stacked tensors (members first): named plainly, checked, planned.

    `rows` are the members' places in their population; `odd` lists tensors that were left out before stacking.
    """
    known = known or Known()
    tensors = view_plain(stacked) if isinstance(stacked, LazyTensors) else to_plain_names(stacked)
    graph = graph_of(empty_tensors(tensors), known)
    _refuse_unreadable(graph, tensors)
    graph = replace(graph, skipped=(*graph.skipped, *odd))
    if isinstance(tensors, LazyTensors):
        read = LazyTensors({n: tensors.stored[n] for n in graph.read})
        return NetworkGroup(graph, read, rows, stacked, known.skeleton)
    return NetworkGroup(graph, {n: tensors[n] for n in graph.read}, rows, dict(stacked), known.skeleton)


def graph_of(tensors: Mapping[str, Tensor], known: Known) -> Graph:
    """The graph of plain stacked tensors, of which only the shapes are looked at."""
    if is_transformer(tensors):
        graph = plan_transformer(tensors, known.heads, known.tied)
        return graph.with_activation(known.activation) if isinstance(known.activation, str) else graph
    return plan_chain(tensors, known.activation, known.skips)


def _refuse_unreadable(graph: Graph, tensors: Mapping[str, Tensor]) -> None:
    """In one sentence, with the first reasons."""
    empty = next((n for n in tensors if 0 in shape_of(tensors, n)), None)
    if empty:
        raise UsageError(f"{empty!r} has a side of length zero: {shape_of(tensors, empty)[1:]}.")
    if not graph.blocks:
        reasons = "; ".join(f"{s.tensor}: {s.reason}" for s in graph.skipped[:3])
        raise UsageError("no weight matrix was found in this model.", hint=reasons)
    for name in graph.read:
        bad = sum(int((~torch.isfinite(part)).sum()) for part in tensors[name].flatten().split(_PIECE))
        if bad:
            raise UsageError(
                f"{name!r} holds NaN or infinite numbers ({bad} of them): a diverged model cannot be read.",
                hint="Drop it, or take an earlier checkpoint.",
            )


# Feature tables: a number per name and network, whatever the depth of the networks.

Columns = tuple[list[str], np.ndarray]  # names and (members, names)
_FRONT, _BACK = 4, 2


@dataclass(frozen=True)
class FeatureTable:
    """Named numbers of networks."""

    names: tuple[str, ...]
    values: np.ndarray  # (members, names), NaN where a network has no such layer

    def select(self, names: Sequence[str]) -> np.ndarray:
        """The named columns; one that no network here has is NaN."""
        positions = {name: i for i, name in enumerate(self.names)}
        out = np.full((len(self.values), len(names)), np.nan)
        for i, name in enumerate(names):
            if name in positions:
                out[:, i] = self.values[:, positions[name]]
        return out


def tabulate_features(population: Population, extract: Callable[[NetworkGroup], Columns]) -> FeatureTable:
    """Columns of every group under the union of their names, in the population's order.

    `extract` gives the columns of one group; networks that lack a column (a shallow one has no fourth layer) hold NaN.
    """
    made = [extract(group) for group in population.groups]
    names = tuple(dict.fromkeys(name for part, _ in made for name in part))
    positions = {name: i for i, name in enumerate(names)}
    values = np.full((population.size, len(names)), np.nan)
    for group, (part, columns) in zip(population.groups, made):
        where = np.array([positions[n] for n in part], dtype=int)
        values[group.rows[:, None], where] = columns
    return FeatureTable(names, values)


def join_columns(*columns: Columns) -> Columns:
    """Columns side by side, names and values."""
    return [n for names, _ in columns for n in names], np.concatenate([v for _, v in columns], 1)


def prefix_columns(prefix: str, columns: Columns) -> Columns:
    """The same columns under `prefix/name`."""
    return [f"{prefix}/{n}" for n in columns[0]], columns[1]


def join_populations(parts: Sequence[Population]) -> Population:
    """All networks in one population, one part after the other."""
    groups, size = [], 0
    for part in parts:
        groups += [replace(g, rows=g.rows + size) for g in part.groups]
        size += part.size
    return Population(groups, size)


def by_layer(names: Sequence[str], layers: Sequence[Tensor | np.ndarray]) -> Columns:
    """Per-layer columns (members, names) laid out by place: from the front, from the back, and their mean.

    A deep and a shallow network then agree on what "the last layer" is.
    """
    stack = np.stack([np.asarray(layer, dtype=np.float64) for layer in layers])
    depth = len(stack)
    where = [(str(i), stack[i]) for i in range(min(depth, _FRONT))]
    where += [(f"-{i}", stack[depth - i]) for i in range(1, min(depth, _BACK) + 1)]
    where.append(("mean", stack.mean(0)))
    return join_columns(
        *(prefix_columns(f"layer{position}", (list(names), values)) for position, values in where)
    )


def find_useful(table: FeatureTable, rows: np.ndarray) -> tuple[str, ...]:
    """Names of columns that vary over `rows` and repeat no earlier column: the others can only feed noise to trees."""
    seen: set[bytes] = set()
    kept = []
    for i, name in enumerate(table.names):
        column = table.values[rows, i]
        finite = column[np.isfinite(column)]
        key = column.tobytes()
        if finite.size and finite.min() < finite.max() and key not in seen:
            kept.append(name)
            seen.add(key)
    return tuple(kept)
