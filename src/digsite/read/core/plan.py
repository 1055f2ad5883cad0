"""From tensor names and shapes to a graph: chains (MLP, CNN, GRU) here, transformers in `plan_transformer`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from digsite.read.core.graph import Graph, NodeSet, NodeTensor, Skipped, WeightBlock

_SUFFIX = re.compile(
    r"^(?P<prefix>.*?)\.?(?P<role>weight|bias|kernel|running_mean|running_var|num_batches_tracked|alpha"
    r"|lora_A(\.\w+)?(\.weight)?|lora_B(\.\w+)?(\.weight)?"
    r"|(weight|bias)_(ih|hh)_l\d+(_reverse)?\[\w\]|[wWbB])$"
)
_SKIP = re.compile(r"(^|\.)skips?\.\d+$")
_VALUE_ROLES = {"weight": "gain", "bias": "shift", "running_mean": "mean", "running_var": "var"}


@dataclass
class Draft:
    """A graph while it is being built."""

    nodes: list[NodeSet] = field(default_factory=list)
    blocks: list[WeightBlock] = field(default_factory=list)
    values: list[NodeTensor] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, size: int, kind: str = "hidden", activation: str = "") -> int:
        """A new set of neurons; its number."""
        self.nodes.append(NodeSet(name, size, kind, activation))
        return len(self.nodes) - 1

    def skip(self, tensor: str, reason: str) -> None:
        """One tensor left out, with the reason that the report prints."""
        self.skipped.append(Skipped(tensor, reason))

    def done(self) -> Graph:
        """The graph as it stands."""
        return Graph(
            tuple(self.nodes), tuple(self.blocks), tuple(self.values), tuple(self.skipped), tuple(self.notes)
        )


def layers_of(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, str]]:
    """Tensor names by layer prefix and role: {"conv1": {"weight": "conv1.weight", "bias": ...}}."""
    layers: dict[str, dict[str, str]] = {}
    for name in tensors:
        match = _SUFFIX.match(name)
        prefix, role = (match["prefix"], match["role"]) if match else (name, "weight")
        layers.setdefault(prefix.removesuffix(".base_layer"), {})[role] = name
    return layers


def plan_chain(
    tensors: Mapping[str, Tensor], activation: str | Sequence[str] = "", skips: Sequence[int | None] = ()
) -> Graph:
    """Layers in their stored order; one whose width does not fit is joined to an earlier set, or skipped aloud.

    `tensors` are plain and stacked (members first); `activation` is one for all hidden sets or one for each; `skips`
    names for each layer the earlier one that is added to it, where a config says so.
    """
    draft, at = Draft(), -1
    layers = _order_layers(layers_of(tensors), tensors)
    joints = {p: roles for p, roles in layers.items() if _SKIP.search(p)}
    for prefix, roles in layers.items():
        if prefix not in joints:
            at = _place_layer(draft, at, prefix, roles, tensors)
    for prefix, roles in joints.items():
        _place_skip(draft, prefix, roles, tensors, skips)
    _name_ends(draft, activation)
    return draft.done()


def _place_skip(
    draft: Draft, prefix: str, roles: dict[str, str], tensors: Mapping, skips: Sequence[int | None]
) -> None:
    """A skip: weights from an earlier layer into layer number i, named `skips.i`."""
    number = int(prefix.rsplit(".", 1)[-1])
    weight = _find_weight(roles)
    names = [n.name for n in draft.nodes]
    target = next((i for i, n in enumerate(names) if re.search(rf"(convs|layers)\.{number}$", n)), None)
    if weight is None or target is None:
        draft.skip(next(iter(roles.values())), "a skip into a layer that is not there")
        return
    n_out, n_in = tensors[weight].shape[1:3]
    stated = skips[number] if number < len(skips) else None
    fitting = [i for i in range(target) if draft.nodes[i].size == n_in and not draft.nodes[i].is_input]
    source = next((i for i, n in enumerate(names) if stated is not None and n.endswith(f".{stated}")), None)
    source = fitting[-1] if source is None and fitting else source
    if source is None or n_out != draft.nodes[target].size:
        draft.skip(weight, "a skip whose widths fit no pair of layers")
        return
    if stated is None and len(fitting) > 1:
        draft.notes.append(f"{weight} could start at {len(fitting)} layers; the nearest was taken")
    into = next(i for i, b in enumerate(draft.blocks) if b.target == target)
    conv = tensors[weight].ndim > 3
    draft.blocks.insert(into + 1, WeightBlock("skip", source, target, (weight,), "conv" if conv else "oi"))


def _name_ends(draft: Draft, activation: str | Sequence[str]) -> None:
    """The last set is the output; hidden ones apply what is known of them."""
    if not draft.blocks:
        return
    last = draft.blocks[-1].target
    draft.nodes[last] = replace(draft.nodes[last], kind="output")
    hidden = [i for i, n in enumerate(draft.nodes) if n.is_hidden and not n.activation]
    each = [activation] * len(hidden) if isinstance(activation, str) else list(activation)
    if len(each) == len(hidden):
        for i, name in zip(hidden, each):
            draft.nodes[i] = replace(draft.nodes[i], activation=name)


def _place_layer(draft: Draft, at: int, prefix: str, roles: dict[str, str], tensors: Mapping) -> int:
    """One layer by what it holds: recurrent gates, a matrix or kernel, a norm's vectors, or a low-rank pair alone."""
    if any("_ih_l" in r for r in roles):
        return _place_recurrent(draft, at, prefix, roles, tensors)
    weight = _find_weight(roles)
    if weight is None:
        if not any(r.startswith("lora_") for r in roles):
            for role, name in roles.items():
                draft.skip(name, "a counter" if "num_batches" in role else "no weight of the same layer")
        return _place_low_rank(draft, at, prefix, roles, tensors)
    if tensors[weight].ndim == 2:
        _place_norm(draft, at, roles, tensors)
        return at
    placed = _place_matrix(draft, at, prefix, roles, tensors)
    return _place_low_rank(draft, placed, prefix, roles, tensors)


def _find_weight(roles: dict[str, str]) -> str | None:
    """The name of a layer's matrix, under any of the names that frameworks give it."""
    return next((roles[r] for r in ("weight", "kernel", "w", "W") if r in roles), None)


def _place_matrix(draft: Draft, at: int, prefix: str, roles: dict[str, str], tensors: Mapping) -> int:
    """A matrix or kernel from the set before it (or the one whose width fits) to a new set, with its bias."""
    weight = _find_weight(roles)
    assert weight is not None
    n_out, n_in = tensors[weight].shape[1:3]
    conv = tensors[weight].ndim > 3
    if at < 0:
        at = draft.add("input", n_in, "input")
    source, layout = _find_source(draft, at, n_in, n_out, conv)
    if source is None:
        draft.skip(weight, f"its input width {n_in} fits no layer before it")
        return at
    kind = "conv" if conv else ("spatial" if layout == "spatial" else "linear")
    target = draft.add(prefix or weight, n_out)
    draft.blocks.append(WeightBlock(kind, source, target, (weight,), layout))
    bias = roles.get("bias") or roles.get("b")
    if bias and tensors[bias].shape[1:] == (n_out,):
        draft.values.append(NodeTensor("bias", target, bias))
    return target


def _find_source(draft: Draft, at: int, n_in: int, n_out: int, conv: bool) -> tuple[int | None, str]:
    """The set that a layer of `n_in` inputs reads, and how its tensor lies.

    Grouped convolutions read a set that is several times wider; a matrix after a flattened image reads channels whose
    places are side by side ("spatial").
    """
    size = draft.nodes[at].size
    layout = "conv" if conv else "oi"
    if n_in == size or (conv and size % n_in == 0 and n_out % (size // n_in) == 0):
        return at, layout
    if not conv and n_in % size == 0 and at > 0:
        return at, "spatial"
    for earlier in range(len(draft.nodes) - 1, -1, -1):
        if draft.nodes[earlier].size == n_in:
            return earlier, layout
    return None, layout


def _place_norm(draft: Draft, at: int, roles: dict[str, str], tensors: Mapping) -> None:
    """Vectors of a norm as values of the set that they follow."""
    for role, name in roles.items():
        if role not in _VALUE_ROLES:
            draft.skip(name, "a counter, not a weight" if "num_batches" in role else "not understood")
        elif at >= 0 and tensors[name].shape[1:] == (draft.nodes[at].size,):
            draft.values.append(NodeTensor(_VALUE_ROLES[role], at, name))
        else:
            draft.skip(name, "of a norm of other neurons than those of the layer before it in the file")


def _place_recurrent(draft: Draft, at: int, prefix: str, roles: dict[str, str], tensors: Mapping) -> int:
    """One recurrent layer: each gate is its own kind of block from the input and from the hidden state."""
    for layer in sorted({m[1] for r in roles if (m := re.search(r"_l(\d+)\[", r))}, key=int):
        first = next(n for r, n in roles.items() if r.startswith(f"weight_ih_l{layer}["))
        n_hidden, n_in = tensors[first].shape[1:]
        at = draft.add("input", n_in, "input") if at < 0 else at
        hidden = draft.add(f"{prefix}.l{layer}", n_hidden, activation="gated")
        for role, name in roles.items():
            if f"_l{layer}[" not in role:
                continue
            gate = role[-2]
            if role.startswith("weight"):
                source = at if "_ih_" in role else hidden
                draft.blocks.append(
                    WeightBlock(f"gate_{'ih' if '_ih_' in role else 'hh'}_{gate}", source, hidden, (name,))
                )
            else:
                draft.values.append(NodeTensor("bias", hidden, name))
        at = hidden
    return at


def _place_low_rank(draft: Draft, at: int, prefix: str, roles: dict[str, str], tensors: Mapping) -> int:
    """A low-rank pair as its product, which no change of the inner basis can alter."""
    a = next((n for r, n in roles.items() if r.startswith("lora_A")), None)
    b = next((n for r, n in roles.items() if r.startswith("lora_B")), None)
    if a is None or b is None:
        for name in filter(None, (a, b)):
            draft.skip(name, "half of a low-rank pair")
        return at
    n_in, n_out = tensors[a].shape[2], tensors[b].shape[1]
    if n_in * n_out > 4_000_000:
        draft.skip(a, f"the product of this low-rank pair has {n_in * n_out:,} entries, more than 4,000,000")
        return at
    base = next((k for k in draft.blocks if k.target == at and draft.nodes[at].name == prefix), None)
    source = base.source if base else draft.add(f"{prefix}.in", n_in, "input")
    target = at if base else draft.add(f"{prefix}.out", n_out)
    draft.blocks.append(WeightBlock("lora", source, target, (a, b), "product"))
    return target


def _order_layers(layers: dict[str, dict[str, str]], tensors: Mapping) -> dict[str, dict[str, str]]:
    """The stored order, or the natural order of names where fewer layers fit the stored one."""

    def misfits(order: list[str]) -> int:
        width, count = -1, 0
        for prefix in order:
            shapes = [tensors[n].shape[1:] for n in layers[prefix].values() if tensors[n].ndim > 2]
            if shapes:
                count += width not in (-1, shapes[0][1]) and not (width > 0 and shapes[0][1] % width == 0)
                width = shapes[0][0]
        return count

    stored = list(layers)
    natural = sorted(stored, key=_natural_key)
    best = min((stored, natural), key=misfits)
    return {prefix: layers[prefix] for prefix in best}


def _natural_key(name: str) -> list[tuple[int, int | str]]:
    """layers.2 before layers.10."""
    return [(0, int(x)) if x.isdigit() else (1, x) for x in re.split(r"(\d+)", name)]
