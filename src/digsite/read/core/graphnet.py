"""The graph network behind `nwpa`: messages along a network's own weights, pooled neuron to layer to network.

Beside the messages, `LinearPath` sends learned inputs along the weights alone and compares what arrives with the zoo.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.base.errors import UsageError
from digsite.read.core.agreement import ZooAgreement
from digsite.read.core.edges import N_ACTIVATIONS, NAMES, NetworkBatch, block_key
from digsite.read.core.tasks import ReadTask

_SLOTS = ("input", "first", "inner", "last", "output")
_POOLS = 4  # mean, maximum, attention, spread
_TINY = 1e-4  # keeps the gradient of a root finite where all neurons agree
_FAR = 5.0  # a neuron's numbers are cut at so many spreads: an exploded network must not drown the others


class GraphSweep(nn.Module):
    """One pass over the blocks: each target set hears its sources through every edge function."""

    def __init__(self, keys: dict[str, int], width: int, dropout: float) -> None:
        super().__init__()
        self.mix = nn.ModuleDict(
            {safe_key(k): nn.Linear(n * width, width, bias=False) for k, n in keys.items()}
        )
        self.own = nn.Linear(width, width)
        self.act_shift = nn.Embedding(N_ACTIVATIONS, width)
        self.out = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.drop = nn.Dropout(dropout)

    def gathered(self, key: str, edges: Tensor, states: Tensor, share: float = 1.0) -> Tensor:
        """Along the weights, (B, target, functions, source) and (B, source, d) to (B, target, d), times `share`.

        Heard first and mixed then, against the weights the other way round: what lies between has as many rows as
        there are targets, and in most networks those are the fewer.
        """
        n_batch, n_target, n_functions, n_source = edges.shape
        heard = torch.bmm(edges.reshape(n_batch, n_target * n_functions, n_source), states)
        return F.linear(heard.reshape(n_batch, n_target, -1), self._mix(key).weight * share)

    def sent_back(self, key: str, edges: Tensor, states: Tensor, share: float = 1.0) -> Tensor:
        """Against the weights: the same edges and (B, target, d) to (B, source, d)."""
        n_batch, n_target, n_functions, n_source = edges.shape
        width = states.shape[2]
        mix = self._mix(key).weight.reshape(width, n_functions, width).transpose(0, 1).flatten(0, 1)
        sent = F.linear(states, mix * share).reshape(n_batch, n_target * n_functions, width)
        return torch.bmm(edges.reshape(n_batch, n_target * n_functions, n_source).mT, sent)

    def _mix(self, key: str) -> nn.Linear:
        mix = self.mix[safe_key(key)]
        assert isinstance(mix, nn.Linear)
        return mix

    def update(self, states: Tensor, message: Tensor, activation: Tensor) -> Tensor:
        """States (B, size, d) after a message of that shape; `activation` (B,) shifts what passes the nonlinearity."""
        shift = self.act_shift(activation)[:, None, :]
        hidden = F.gelu(self.norm(self.own(states) + message) + shift)
        return states + self.drop(self.out(hidden))


class GraphNet(nn.Module):
    """Exactly equivariant to every permutation of hidden neurons: neurons are only summed, maximized and attended."""

    def __init__(
        self,
        keys: dict[str, int],
        identities: dict[str, int],
        tasks: Sequence[ReadTask],
        *,
        width: int = 48,
        rounds: int = 2,
        hidden: int = 128,
        dropout: float = 0.1,
        edge_dropout: float = 0.05,
        signals: int = 24,
        use_attention: bool = False,
    ) -> None:
        super().__init__()
        self.keys, self.edge_dropout, self.tasks = dict(keys), edge_dropout, list(tasks)
        drawn = {k: torch.randn(min(n, IDENTITY_LIMIT), width) * 0.5 for k, n in identities.items()}
        self.embed = nn.ParameterDict({safe_key(k): nn.Parameter(v) for k, v in drawn.items()})
        self.kind = nn.ParameterDict(
            {k: nn.Parameter(torch.randn(width) * 0.5) for k in ("input", "hidden", "stream", "output")}
        )
        self.usual: Tensor
        self.register_buffer("usual", torch.stack([torch.zeros(len(NAMES)), torch.ones(len(NAMES))]))
        self.describe = nn.Linear(len(NAMES), width)
        self.forward_sweeps = nn.ModuleList(GraphSweep(keys, width, dropout) for _ in range(rounds))
        self.backward_sweeps = nn.ModuleList(GraphSweep(keys, width, dropout) for _ in range(rounds))
        self.attend = nn.MultiheadAttention(width, 4, batch_first=True) if use_attention else None
        self.score = nn.Linear(width, 1)
        self.scale_in = nn.Linear(3, 16)
        self.path = LinearPath(identities, signals)
        self.summary_width = hidden
        pooled = len(_SLOTS) * _POOLS * width + 16 + N_ACTIVATIONS + 1 + self.path.n_features
        self.trunk = nn.Sequential(
            nn.LayerNorm(pooled),
            nn.Dropout(dropout),
            nn.Linear(pooled, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
        )
        self.heads = nn.ModuleDict({t.name: nn.Linear(hidden, t.n_outputs) for t in tasks})
        self.class_heads = nn.ModuleDict(
            {
                t.name: nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, 1))
                for t in tasks
                if t.per_output
            }
        )
        self.log_spread = nn.ParameterDict({t.name: nn.Parameter(torch.zeros(())) for t in tasks})

    def get_used_to(self, nodes: Sequence[Tensor]) -> None:
        """Learn middle and spread of every number of a neuron; `nodes` (size, features) are all sets of all networks."""
        every = torch.cat(list(nodes)).clamp(-1e3, 1e3)
        spread = every.std(0, correction=0)
        self.usual.copy_(torch.stack([every.mean(0), torch.where(spread > 1e-3, spread, 1.0)]))

    def forward(self, batch: NetworkBatch) -> dict[str, Tensor]:
        """Logits or standardized values by task, (B, outputs of the task)."""
        return self.answer(batch, self.states(batch))

    def states(self, batch: NetworkBatch) -> list[Tensor]:
        """The state of every neuron, (B, size, d) per node set."""
        states = [self._start(batch, i) for i in range(len(batch.nodes))]
        edges = [self._thin(e) for e in batch.edges]
        for ahead, back in zip(self.forward_sweeps, self.backward_sweeps):
            assert isinstance(ahead, GraphSweep) and isinstance(back, GraphSweep)
            for targets in _order_waves(batch, forward=True):
                _update_set(ahead, batch, states, edges, targets, backward=False)
            for targets in _order_waves(batch, forward=False):
                _update_set(back, batch, states, edges, targets, backward=True)
            if self.attend is not None:
                states = [self._attend(s, m) for s, m in zip(states, batch.masks)]
        return states

    def _start(self, batch: NetworkBatch, index: int) -> Tensor:
        """(B, size, d): a neuron begins as its description, its kind, and, for inputs and outputs, its own embedding."""
        node, features = batch.graph.nodes[index], batch.nodes[index]
        middle, spread = self.usual
        state = self.describe(((features - middle) / spread).clamp(-_FAR, _FAR)) + self.kind[node.kind]
        if node.identity:
            key = safe_key(f"{node.kind}:{node.size}")
            if key not in self.embed:
                raise UsageError(
                    f"this reader has not seen networks with {node.size} {node.kind}s.",
                    hint=f"It was trained on: {', '.join(self.embed)}.",
                )
            table = self.embed[key]
            state = state + (table if len(table) == node.size else table[:1])
        return state

    def _thin(self, edges: Tensor) -> Tensor:
        """A share of the weights hidden at random in training, the others scaled up: no reader may hang on single weights."""
        if not self.training or self.edge_dropout == 0:
            return edges
        n_batch, n_target, _, n_source = edges.shape
        keep = torch.rand(n_batch, n_target, 1, n_source, device=edges.device) >= self.edge_dropout
        return edges * keep / (1 - self.edge_dropout)

    def _attend(self, states: Tensor, mask: Tensor) -> Tensor:
        assert self.attend is not None
        heard, _ = self.attend(states, states, states, key_padding_mask=mask == 0, need_weights=False)
        return states + heard

    def attention(self, states: Tensor, mask: Tensor) -> Tensor:
        """How much each neuron counts in its layer's summary: (B, size), adding to one."""
        scores = self.score(states)[:, :, 0].masked_fill(mask == 0, -torch.inf)
        return scores.softmax(1)

    def _layer(self, states: Tensor, mask: Tensor) -> Tensor:
        """(B, 4 d): mean, maximum, attended mean and spread over the real neurons."""
        shares = torch.stack([mask / mask.sum(1, keepdim=True), self.attention(states, mask)], 1)
        mean, weighed = torch.bmm(shares, states).unbind(1)
        top = (states if mask.all() else states.masked_fill(mask[:, :, None] == 0, -torch.inf)).amax(1)
        away = torch.bmm(shares[:, :1], (states - mean[:, None]).square())[:, 0]
        return torch.cat([mean, top, weighed, (away + _TINY).sqrt()], 1)

    def summary(self, batch: NetworkBatch, states: list[Tensor]) -> Tensor:
        """(B, hidden), one vector per network: neurons to layers, layers to five slots whatever the depth."""
        layers = [self._layer(s, m) for s, m in zip(states, batch.masks)]
        slots = [torch.stack([layers[i] for i in where]).mean(0) for where in _find_slots(batch)]
        scales = batch.scales / 3  # NaN where a member lacks a skip that others of the batch have
        inner = scales[:, 1:-1].nanmean(1) if scales.shape[1] > 2 else scales.mean(1)
        shape = self.scale_in(torch.stack([scales[:, 0], inner, scales[:, -1]], 1))
        return self.trunk(torch.cat([*slots, shape, _describe_depth(batch), self.path(batch)], 1))

    def answer(self, batch: NetworkBatch, states: list[Tensor]) -> dict[str, Tensor]:
        """Answers by task from the states of all neurons; tasks about one output get a logit from each output neuron."""
        vector = self.summary(batch, states)
        out = {}
        for task in self.tasks:
            logits = self.heads[task.name](vector)
            if task.per_output:
                logits = torch.cat([self._per_output(task, batch, states), logits[:, -1:]], 1)
            out[task.name] = logits
        return out

    def _per_output(self, task: ReadTask, batch: NetworkBatch, states: list[Tensor]) -> Tensor:
        """One logit per output neuron by one shared function: which class is missing is a question about a neuron."""
        outputs = next(s for s, n in zip(reversed(states), reversed(batch.graph.nodes)) if n.is_output)
        relative = outputs - outputs.mean(1, keepdim=True)
        return self.class_heads[task.name](torch.cat([outputs, relative], 2))[:, :, 0]


def _update_set(
    sweep: GraphSweep,
    batch: NetworkBatch,
    states: list[Tensor],
    edges: list[Tensor],
    wave: list[int],
    backward: bool,
) -> None:
    """Update the one node set that all blocks of this wave lead to."""
    blocks = batch.graph.blocks
    at = blocks[wave[0]].source if backward else blocks[wave[0]].target
    alike: dict[str, list[int]] = {}
    for i in wave:
        alike.setdefault(block_key(batch.graph, i), []).append(i)
    total = None
    for key, group in alike.items():
        others = [blocks[i].target if backward else blocks[i].source for i in group]
        messages = _send_along(
            sweep,
            key,
            [edges[i] for i in group],
            [states[o] for o in others],
            [batch.masks[o] for o in others],
            backward,
        )
        total = messages if total is None else total + messages
    assert total is not None
    updated = sweep.update(states[at], total, batch.activations[:, at])
    mask = batch.masks[at]
    states[at] = updated if mask.all() else updated * mask[:, :, None]


def _send_along(
    sweep: GraphSweep,
    key: str,
    edges: list[Tensor],
    states: list[Tensor],
    masks: list[Tensor],
    backward: bool,
) -> Tensor:
    """Blocks that share their parameters are one block from all their sources: one product in place of many."""
    said, share = _stack_states(states, masks)
    joined = edges[0] if len(edges) == 1 else torch.cat(edges, 1 if backward else 3)
    return (sweep.sent_back if backward else sweep.gathered)(key, joined, said, share)


def _stack_states(states: list[Tensor], masks: list[Tensor]) -> tuple[Tensor, float]:
    """The states one below the other, divided by the roots of their numbers of real neurons; and a factor.

    Padding must not weaken a message. Where a single set has none, the divisor is the factor, and joins a small matrix.
    """
    if len(masks) == 1 and bool(masks[0].all()):
        return states[0], masks[0].shape[1] ** -0.5
    return torch.cat([s / m.sum(1).sqrt()[:, None, None] for s, m in zip(states, masks)], 1), 1.0


def _order_waves(batch: NetworkBatch, forward: bool) -> list[list[int]]:
    """Blocks in order of computation, those into one set side by side; backwards, those out of one set.

    A skip joins the wave of the layer that it ends (or begins) at, so that having one adds no update.
    """

    def end(i: int) -> int:
        return blocks[i].target if forward else blocks[i].source

    blocks = batch.graph.blocks
    order = range(len(blocks)) if forward else reversed(range(len(blocks)))
    waves: list[list[int]] = []
    for i in order:
        if blocks[i].is_skip:
            continue
        if waves and end(i) == end(waves[-1][0]):
            waves[-1].append(i)
        else:
            waves.append([i])
    for i in (i for i, b in enumerate(blocks) if b.is_skip):
        next(w for w in waves if end(w[0]) == end(i)).append(i)
    return waves


def _describe_depth(batch: NetworkBatch) -> Tensor:
    """(B, activations + 1): the share of the hidden sets that apply each activation, and how many there are."""
    hidden = [i for i, n in enumerate(batch.graph.nodes) if not n.identity]
    if not hidden:
        return batch.scales.new_zeros(len(batch.scales), N_ACTIVATIONS + 1)
    shares = F.one_hot(batch.activations[:, hidden], N_ACTIVATIONS).to(batch.scales).mean(1)
    return torch.cat([shares, torch.full_like(shares[:, :1], len(hidden)).log()], 1)


def _find_slots(batch: NetworkBatch) -> list[list[int]]:
    """Input, first, inner, last and output sets: a fixed number of slots for any depth."""
    kinds = [n.kind for n in batch.graph.nodes]
    inputs = [i for i, k in enumerate(kinds) if k == "input"] or [0]
    outputs = [i for i, k in enumerate(kinds) if k == "output"] or [len(kinds) - 1]
    inner = [i for i, k in enumerate(kinds) if k in ("hidden", "stream")] or inputs
    return [inputs, inner[:1], inner, inner[-1:], outputs]


# The part of the graph network that compares a network's end-to-end map with what its zoo agrees on.

IDENTITY_LIMIT = 4096  # inputs beyond this (a vocabulary) share one embedding
_MIXED = 24


def safe_key(key: str) -> str:
    """Parameter names may not hold dots."""
    return key.replace(".", "_").replace(":", "_")


class LinearPath(nn.Module):
    """Learned input patterns are sent along the weights alone (no activation, no bias: the network is not run) and
    what arrives at each output is compared with learned templates."""

    def __init__(self, identities: Mapping[str, int], signals: int) -> None:
        super().__init__()
        inputs = {
            safe_key(k): n for k, n in identities.items() if k.startswith("input") and n <= IDENTITY_LIMIT
        }
        outputs = {safe_key(k): n for k, n in identities.items() if k.startswith("output") and n <= 64}
        self.patterns = nn.ParameterDict(
            {k: nn.Parameter(torch.randn(n, signals) / n**0.5) for k, n in inputs.items()}
        )
        self.templates = nn.ParameterDict(
            {k: nn.Parameter(torch.randn(n, signals)) for k, n in outputs.items()}
        )
        self.mix = nn.ModuleDict({k: nn.Linear(n * signals, _MIXED) for k, n in outputs.items()})
        self.signals, self.n_features = signals, 7 + 2 * signals + _MIXED

    @torch.no_grad()
    def start_from(self, agreements: Mapping[str, ZooAgreement]) -> None:
        """Begin at the directions and the mean map that the training zoo agrees on."""
        for key, zoo in agreements.items():
            n_inputs, n_outputs = key.split("x")
            pattern, template = self.patterns[f"input_{n_inputs}"], self.templates[f"output_{n_outputs}"]
            k = min(self.signals, zoo.map_basis.shape[1])
            pattern[:, :k] = zoo.map_basis[:, :k].float()
            template[:, :k] = (zoo.template @ zoo.map_basis[:, :k]).float() * self.signals**0.5

    def forward(self, batch: NetworkBatch) -> Tensor:
        """(B, features): agreement with the templates overall and by class, norms, and energies along learned directions."""
        path_ends = self._ends(batch)
        if path_ends is None:
            return batch.scales.new_zeros(len(batch.scales), self.n_features)
        key, first, rows, ends = path_ends
        template = self.templates[key]
        overall = F.cosine_similarity(ends.flatten(1), template.flatten()[None], dim=1)
        each = F.cosine_similarity(ends, template[None], dim=2)
        norms = ends.norm(dim=2).clamp_min(1e-8).log()
        unit = ends / ends.flatten(1).norm(dim=1).clamp_min(1e-8)[:, None, None]
        few = torch.stack(
            [overall, each.mean(1), each.amin(1), each.amax(1), each.std(1), norms.std(1), norms.amin(1)], 1
        )
        energy = [_log_energy(first, rows), _log_energy(unit, ends.new_full((len(ends),), ends.shape[1])) + 2]
        return torch.cat([few, *energy, self.mix[key](unit.flatten(1) * 4)], 1)

    def _ends(self, batch: NetworkBatch) -> tuple[str, Tensor, Tensor, Tensor] | None:
        """The outputs' key, what arrives at the first hidden set and its size, and at the outputs less their mean."""
        nodes = batch.graph.nodes
        out = next((i for i in reversed(range(len(nodes))) if nodes[i].is_output), None)
        source = safe_key(f"input:{nodes[0].size}")
        if (
            out is None
            or source not in self.patterns
            or safe_key(f"output:{nodes[out].size}") not in self.templates
        ):
            return None
        state: dict[int, Tensor] = {0: self.patterns[source].expand(len(batch.scales), -1, -1)}
        first, rows = None, batch.scales
        for block, edges in zip(batch.graph.blocks, batch.edges):
            if block.source not in state or block.source == block.target:
                continue
            count = batch.masks[block.source].sum(1).sqrt()
            sent = torch.bmm(edges[:, :, 0], state[block.source]) / count[:, None, None]
            state[block.target] = state[block.target] + sent if block.target in state else sent
            if first is None:
                first, rows = state[block.target], batch.masks[block.target].sum(1)
        if out not in state or first is None:
            return None
        return (
            safe_key(f"output:{nodes[out].size}"),
            first,
            rows,
            state[out] - state[out].mean(1, keepdim=True),
        )


def _log_energy(values: Tensor, count: Tensor) -> Tensor:
    """(B, signals): mean square over the real neurons, whatever their order."""
    return (values.square().sum(1) / count[:, None]).clamp_min(1e-8).log() / 2
