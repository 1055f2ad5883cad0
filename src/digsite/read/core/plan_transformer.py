"""The graph of a transformer: one stream of neurons that every block reads and writes."""

import re
from collections.abc import Mapping
from itertools import zip_longest
from math import prod

from torch import Tensor

from digsite.read.core.graph import Graph, NodeTensor, WeightBlock
from digsite.read.core.plan import Draft

_BIAS = r"(\.bias|b_[A-Z]\w*|\.b)$"
_ROLES = {
    "q": r"(q_proj\.weight|query\.weight|\bwq\.weight|Attention\.q\.weight|W_Q)$",
    "k": r"(k_proj\.weight|key\.weight|\bwk\.weight|Attention\.k\.weight|W_K)$",
    "v": r"(v_proj\.weight|value\.weight|\bwv\.weight|Attention\.v\.weight|W_V)$",
    "o": r"(o_proj\.weight|(?<!mixer\.)out_proj\.weight|attn\.c_proj\.weight|\bw?o\.weight|W_O|attn\.proj\.weight"
    r"|attention\.(output\.)?dense\.weight)$",
    "mlp_in": r"(up_proj\.weight|gate_proj\.weight|mlp_in\.weight|c_fc\.weight|fc1\.weight|linear1\.weight|W_in|W_gate"
    r"|\bw[13]\.weight|(mlp|ffn|feed_forward)\.(0|up|gate|inner)\.weight|intermediate\.dense\.weight"
    r"|dense_h_to_4h\.weight|Dense\.wi(_[01])?\.weight)$",
    "mlp_out": r"(down_proj\.weight|mlp_out\.weight|mlp\.c_proj\.weight|fc2\.weight|linear2\.weight|W_out|\bw2\.weight"
    r"|(mlp|ffn|feed_forward)\.(2|down|outer)\.weight|\d\.output\.dense\.weight|dense_4h_to_h\.weight|Dense\.wo\.weight)$",
    "position": r"(wpe\.weight|W_pos|pos\w*(\.weight)?)$",
    "unembed": r"(lm_head\.weight|embed_out\.weight|unembed\w*\.(weight|W_U)|W_U|head\.weight|classifier\.weight|output\.weight)$",
    "embed": r"(embed\w*(\.\w+)?(\.weight|W_E)|wte\.weight|W_E|patch\w*(\.\w+)*\.weight|stem\.weight|^shared\.weight)$",
}
_PRENORM = re.compile(
    r"(ln_?\d|ln_f|ln_final|input_layernorm|post_attention_layernorm|attn_?norm|attention_norm|mlp_norm|ffn_norm|final_norm|(^|\.)norm(_f)?)\.(weight|w)$"
)


_NORM = re.compile(r"(norm|(^|\.)ln)\w*(\.\d+)?\.(weight|bias|w|b)$", re.IGNORECASE)
_QUERY_KEY_VALUE = re.compile(
    r"((q|k|v)_proj|query|key|value|w[qkv]|in_proj_?|c_attn|qkv)\.?(bias|b)$|b_[QKV]$"
)


def is_transformer(tensors: Mapping[str, Tensor]) -> bool:
    """By names alone: all four attention matrices, or an embedding with both MLP matrices in numbered blocks."""
    named_roles = {role for name in tensors for role in ("q", "k", "v", "o") if re.search(_ROLES[role], name)}
    if len(named_roles) == 4:
        return True
    roles = {role_of(name) for name in tensors}
    return {"embed", "mlp_in", "mlp_out"} <= roles and any("." in name for name in tensors)


def role_of(name: str) -> str:
    """q, k, v, o, mlp_in, mlp_out, embed, position, unembed, norm, bias, or "" when the name says nothing."""
    if re.search(_BIAS, name):
        return "bias"
    return next((role for role, pattern in _ROLES.items() if re.search(pattern, name)), "")


_ROLE_WORDS = {
    "q": "query",
    "k": "key",
    "v": "value",
    "o": "attention output",
    "mlp_in": "feed-forward in",
    "mlp_out": "feed-forward out",
    "position": "position",
    "unembed": "output",
    "embed": "embedding",
}
_MORE_WORDS = {
    "query, key and value": r"(query_key_value|qkv|c_attn|in_proj)\w*(\.weight)?$",
    "position": r"relative_attention_bias|rel_pos",
    "router": r"(router|moe\.gate|mlp\.gate)\.weight$",
}
_STATE_SPACE = re.compile(r"(^|\.)(A_log|mixer\.(in|out|x|dt)_proj\.weight|mixer\.conv1d\.weight)$")


def is_state_space(name: str) -> bool:
    """Whether a tensor belongs to a state-space block (Mamba), by its name."""
    return bool(_STATE_SPACE.search(name))


def kind_by_name(name: str, n_sides: int) -> str:
    """What a tensor of `n_sides` sides is called in the blocks of known families; "" where its name says nothing."""
    expert = "expert " if "experts." in name else ""
    if is_state_space(name):
        return "state space"
    if n_sides > 2 and (not expert or "conv" in name):
        return "convolution"
    more = next((word for word, pattern in _MORE_WORDS.items() if re.search(pattern, name)), "")
    role = role_of(name)
    word = "feed-forward gate" if role == "mlp_in" and _is_gate(name) else _ROLE_WORDS.get(role, "")
    return more or f"{expert}{word}".strip()


def plan_transformer(
    tensors: Mapping[str, Tensor], heads: tuple[int, int] | None, tied: Mapping[str, str] | None = None
) -> Graph:
    """The graph of a transformer from its plain, stacked tensors.

    `heads` = (query heads, key/value heads); without them attention is read as one head, and a note says so. `tied`
    maps names that share one tensor: a model without an output matrix then reads out through its embedding.
    """
    draft, roles = Draft(), {name: role_of(name) for name in tensors}
    width = next(tensors[n].shape[1] for n, r in roles.items() if r in ("o", "mlp_out"))
    vocabulary = _place_embedding(draft, tensors, roles, width)
    if heads is None:
        heads = (1, 1)
    if heads == (1, 1) and "q" in roles.values():
        draft.notes.append("the number of heads is not stored in the weights: attention is read as one head")
    for prefix in _block_prefixes(tensors):
        _place_block(draft, prefix, tensors, roles, heads)
    _place_readout(draft, tensors, roles, width, vocabulary, tied or {})
    used = set(draft.done().read) | {s.tensor for s in draft.skipped}
    for name in tensors:
        if name not in used:
            draft.skip(name, _explain_skip(name, roles[name], tensors[name]))
    return draft.done()


def _explain_skip(name: str, role: str, tensor: Tensor) -> str:
    """Why a tensor is not part of the graph, for the table of what was skipped."""
    if _NORM.search(name):
        which = "shift" if re.search(r"(bias|\.b)$", name) else "gain"
        return f"a {which} of a norm that stands before no block of the graph, or is not folded in"
    if role != "bias":
        return "a buffer or a name that tells no role"
    if _QUERY_KEY_VALUE.search(name):
        return "a query, key or value bias: not part of the per-head products"
    return "a bias of a layer that is not part of the graph"


def _place_embedding(draft: Draft, tensors: Mapping, roles: Mapping, width: int) -> int:
    """The input set and the stream; returns the input set."""
    named = [n for n, r in roles.items() if r == "embed" and width in tensors[n].shape[1:]]
    # Types of tokens have a table too: the vocabulary's is the larger one.
    name = max(named, key=lambda n: prod(tensors[n].shape[1:]), default=None)
    if name is None:
        draft.notes.append("no token embedding found: the stream has no input block")
        draft.add("stream", width, "stream")
        return 0
    t = tensors[name]
    turned = t.ndim == 3 and t.shape[2] == width and t.shape[1] != width
    size = t.shape[1] if turned else t.shape[2]
    source = draft.add("tokens", size, "input")
    stream = draft.add("stream", width, "stream")
    layout = "conv" if t.ndim > 3 else ("io" if turned else "oi")
    draft.blocks.append(WeightBlock("embedding", source, stream, (name,), layout))
    position = next((n for n, r in roles.items() if r == "position" and tensors[n].shape[-1] == width), None)
    if position and tensors[position].ndim == 3:
        at = draft.add("positions", tensors[position].shape[1], "input")
        draft.blocks.append(WeightBlock("position", at, stream, (position,), "io"))
    return source


def _block_prefixes(tensors: Mapping[str, Tensor]) -> list[str]:
    """`blocks.0.`, `blocks.1.` ...: the part of an attention name up to and including its layer number."""
    prefixes = {
        m[0]
        for name in tensors
        if role_of(name) in ("q", "mlp_in") and (m := re.match(r"(.*?\.)?\d+\.", name))
    }
    return sorted(prefixes, key=lambda p: int(re.findall(r"\d+", p)[-1])) or [""]


def _find_stream(draft: Draft) -> int:
    """The one set that all blocks read and write."""
    return next(i for i, n in enumerate(draft.nodes) if n.is_stream)


def _place_block(draft: Draft, prefix: str, tensors: Mapping, roles: Mapping, heads: tuple[int, int]) -> None:
    """Attention and MLP of one block, the tensors under `prefix`, as blocks between the stream and itself."""
    stream = _find_stream(draft)
    inside = [n for n in tensors if n.startswith(prefix)]
    by_role = {r: [n for n in inside if roles[n] == r] for r in _ROLES}
    first, second = _find_norms(inside, tensors, draft.nodes[stream].size)
    for q, k, v, o in zip_longest(*(by_role[r] for r in "qkvo"), fillvalue=""):  # a decoder attends twice
        if q and k:
            heads = _fitting_heads(heads, tensors[q].shape[1], tensors[k].shape[1])
            draft.blocks.append(WeightBlock("qk", stream, stream, (q, k), "qk", heads, gain=first))
        if v and o:
            draft.blocks.append(WeightBlock("vo", stream, stream, (o, v), "vo", heads, gain=first))
            _place_bias(draft, o, stream, tensors)
    for expert in dict.fromkeys(_expert_of(name) for name in by_role["mlp_in"]):
        ins, outs = ([n for n in by_role[r] if _expert_of(n) == expert] for r in ("mlp_in", "mlp_out"))
        hidden = draft.add(f"{prefix}{expert}mlp", tensors[ins[0]].shape[1])
        for i, name in enumerate(ins):
            kind = "mlp_gate" if _is_gate(name) else f"mlp_in{i or ''}"
            draft.blocks.append(WeightBlock(kind, stream, hidden, (name,), "oi", gain=second))
            _place_bias(draft, name, hidden, tensors)
        for name in outs:
            draft.blocks.append(WeightBlock("mlp_out", hidden, stream, (name,), "oi"))
            _place_bias(draft, name, stream, tensors)


def _fitting_heads(heads: tuple[int, int], queries: int, keys: int) -> tuple[int, int]:
    """As many query heads to each key head as the rows of both say, where nothing else told how many heads there are."""
    fits = queries % heads[0] == keys % heads[1] == 0 and queries // heads[0] == keys // heads[1]
    return heads if fits or queries % keys else (queries // keys, 1)


def _is_gate(name: str) -> bool:
    """Of the maps into the neurons, the one that an activation follows, where there are two."""
    return "gate" in name or name.endswith(("w1.weight", "wi_0.weight"))


def _expert_of(name: str) -> str:
    """`experts.3.` where a feed-forward map is one of several; each has neurons of its own."""
    expert = re.search(r"experts\.\d+\.", name)
    return expert[0] if expert else ""


def _find_norms(names: list[str], tensors: Mapping, width: int) -> tuple[str, str]:
    """Gains of the norms before attention and before the MLP; "" when there are none or they come after."""
    norms = [n for n in names if _PRENORM.search(n) and tensors[n].shape[1:] == (width,)]
    first, second = [*norms, "", ""][:2]
    return first, second


def _place_bias(draft: Draft, weight: str, node: int, tensors: Mapping) -> None:
    """The bias that belongs to a matrix by its name, if it has the width of the set."""
    name = re.sub(r"weight$", "bias", re.sub(r"W_(O|in|out)$", r"b_\1", weight))
    if name != weight and name in tensors and tensors[name].shape[1:] == (draft.nodes[node].size,):
        draft.values.append(NodeTensor("bias", node, name))


def _place_readout(
    draft: Draft, tensors: Mapping, roles: Mapping, width: int, source: int, tied: Mapping
) -> None:
    """The output matrix with the final norm's gain, or the embedding read backward where the two are tied."""
    stream = _find_stream(draft)
    name = next((n for n, r in roles.items() if r == "unembed" and width in tensors[n].shape[1:]), None)
    gain = next(
        (
            n
            for n in tensors
            if _PRENORM.search(n)
            and not re.search(r"\d+\.(ln|norm|\w*layernorm|attn|mlp)", n)
            and tensors[n].shape[1:] == (width,)
            and n not in draft.done().read
        ),
        "",
    )
    if name is None and tied:
        embedded = next((b.tensors[0] for b in draft.done().blocks_of("embedding")), "")
        if embedded in set(tied.values()) | set(tied):
            out = draft.add("logits", draft.nodes[source].size, "output")
            draft.blocks.append(WeightBlock("unembedding", stream, out, (embedded,), "oi", gain=gain))
        return
    if name is None:
        draft.notes.append("no output matrix found: the graph ends at the stream")
        return
    t = tensors[name]
    turned = t.shape[1] == width and t.shape[2] != width
    out = draft.add("logits", t.shape[2] if turned else t.shape[1], "output")
    draft.blocks.append(WeightBlock("unembedding", stream, out, (name,), "io" if turned else "oi", gain=gain))
    _place_bias(draft, name, out, tensors)
