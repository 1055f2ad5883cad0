"""Every naming and fusing habit brought to one: plain (out, in) matrices under names that tell their role."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from digsite.weights.bundle import LazyTensors, empty_tensors

_HEADED = re.compile(r"W_([QKV])$")


def to_plain_names(
    tensors: Mapping[str, Tensor], whole: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Stacked tensors (members first) with fused, head-shaped and transposed ones split, flattened and turned.

    `whole`, where `tensors` are some of a network: all of its tensors, or empty ones of their shapes.
    """
    whole = tensors if whole is None else whole
    width = stream_width(whole)
    turned = any(n.endswith("c_attn.weight") and t.shape[-1] == 3 * t.shape[-2] for n, t in whole.items())
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        gates = _gate_letters(name, whole)
        if gates:
            out |= {f"{name}[{g}]": part for g, part in zip(gates, tensor.chunk(len(gates), dim=1))}
        else:
            out |= _rename_one(name, tensor, width, turned)
    return out


def view_plain(tensors: LazyTensors) -> LazyTensors:
    """The same of tensors that stay on disk: a plain one is made from its stored one whenever it is read."""
    empty = empty_tensors(tensors)
    views = {}
    for name in tensors:
        for plain, like in to_plain_names({name: empty[name]}, empty).items():

            def change(tensor: Tensor, name: str = name, plain: str = plain) -> Tensor:
                return to_plain_names({name: tensor}, empty)[plain]

            views[plain] = tensors.derive(name, change, tuple(like.shape))
    return LazyTensors(views)


def _gate_letters(name: str, tensors: Mapping[str, Tensor]) -> str:
    """Letters of a recurrent layer's gates: three in a GRU, four in an LSTM; "" for other tensors."""
    match = re.match(r"(.*)(?:weight|bias)_(?:ih|hh)(_l\d+(?:_reverse)?)$", name)
    if not match:
        return ""
    hidden = tensors[f"{match[1]}weight_hh{match[2]}"]
    return {3: "rzn", 4: "ifgo"}.get(hidden.shape[1] // hidden.shape[2], "")


def stream_width(tensors: Mapping[str, Tensor]) -> int | None:
    """The residual width, from the attention output or from the norms; None when there is no attention."""
    for name, t in tensors.items():
        if re.search(r"(W_O|o_proj\.weight|out_proj\.weight|wo\.weight)$", name):
            return t.shape[-1] if t.ndim == 4 else t.shape[1]
        if name.endswith("c_attn.weight"):
            return min(t.shape[-1], t.shape[-2])
    return None


def _rename_one(name: str, t: Tensor, width: int | None, turned: bool) -> dict[str, Tensor]:
    """One tensor under plain names, fused ones taken apart."""
    if re.search(r"(in_proj_(weight|bias)|c_attn\.(weight|bias))$", name):
        return _split_fused(name, t, turned)
    if turned and re.search(r"(c_fc|c_proj)\.weight$", name):
        return {name: t.transpose(1, 2)}
    if _HEADED.search(name) and t.ndim == 4:
        t = t if t.shape[-1] == width and t.shape[-2] != width else t.transpose(2, 3)
        return {name: t.flatten(1, 2)}
    if name.endswith("W_O") and t.ndim == 4:
        return {name: t.flatten(1, 2).transpose(1, 2)}
    return {name: _turn_named(name, t, width)}


def _turn_named(name: str, t: Tensor, width: int | None) -> Tensor:
    """`W_E`, `W_U`, `W_in`, `W_out` are stored either way round; the stream width decides."""
    if width is None or t.ndim != 3 or t.shape[1] == t.shape[2]:
        return t
    stream_last = t.shape[2] == width
    if re.search(r"W_(E|U|in|pos)$", name):
        return t if stream_last else t.transpose(1, 2)
    if name.endswith("W_out"):
        return t.transpose(1, 2) if stream_last else t
    return t


def _split_fused(name: str, t: Tensor, turned: bool) -> dict[str, Tensor]:
    """Queries, keys and values of one matrix."""
    weight = name.endswith("weight")
    base = re.sub(r"(in_proj_|c_attn\.)(weight|bias)$", "", name)
    t = t.transpose(1, 2) if weight and turned else t
    return {f"{base}{r}_proj.{'weight' if weight else 'bias'}": p for r, p in zip("qkv", t.chunk(3, dim=1))}


def to_stored_names(stored: Mapping[str, Tensor], changed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The stored tensors with every change of the plain ones written back: the inverse of `plain`."""
    pieces = {name: list(plain_names(name, stored)) for name in stored}
    out = {}
    for name, tensor in stored.items():
        if not any(piece in changed for piece in pieces[name]):
            out[name] = tensor
            continue
        whole = to_plain_names(stored) if not all(p in changed for p in pieces[name]) else {}
        parts = [changed.get(p, whole.get(p)) for p in pieces[name]]
        out[name] = _join_pieces([p for p in parts if p is not None], tensor)
    return out


def plain_names(name: str, tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Under which plain names a stored tensor is read."""
    gates = _gate_letters(name, tensors)
    if gates:
        return tuple(f"{name}[{g}]" for g in gates)
    match = re.match(r"(.*?)(?:in_proj_|c_attn\.)(weight|bias)$", name)
    return tuple(f"{match[1]}{r}_proj.{match[2]}" for r in "qkv") if match else (name,)


def _join_pieces(parts: list[Tensor], like: Tensor) -> Tensor:
    """Side by side, and turned back if they were turned."""
    whole = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
    if whole.shape == like.shape:
        return whole
    return whole.transpose(1, 2) if whole.transpose(1, 2).shape == like.shape else whole.reshape(like.shape)
