"""A graph network over a network's own neurons: equivariant to permutations, blind to free scales and signs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from digsite.base.streams import derive_seed
from digsite.read.core.agreement import MIN_INPUTS, learn_agreements
from digsite.read.core.corpus import Corpus, read_labels
from digsite.read.core.edges import (
    CompiledNetwork,
    NetworkBatch,
    ZooShape,
    batch_of,
    compile_population,
    shape_of,
)
from digsite.read.core.graph import NodeSet
from digsite.read.core.graphnet import GraphNet
from digsite.read.core.population import Population
from digsite.read.core.tasks import ReadTask

INVARIANT = ("permutation", "scale", "sign")
OWN_ENGINE = True
FORM = 2  # of what is stored; counted up where an older reader can no longer be loaded
_EVAL_BATCH = 256
_ROOM = 10_000_000  # padded weights of all members of a pool, at most


@dataclass(frozen=True)
class GraphOptions:
    """Numbers of the graph network and of its training."""

    epochs: int = 32
    batch_size: int = 64
    lr: float = 2e-3
    weight_decay: float = 0.02
    hidden_dim: int = 128
    width: int = 32
    num_layers: int = 1
    dropout: float = 0.2
    edge_dropout: float = 0.1
    signals: int = 24
    use_attention: bool = False
    own: Sequence[str] = ()  # tasks that share no graph network with others
    nets: int = 1  # for each of those: trained from other random starts, their answers averaged


@dataclass
class Branch:
    """One trained graph network: it answers the function tasks (canonical coordinates) or the recipe tasks (raw)."""

    about: str
    net: GraphNet
    center: dict[str, float]
    spread: dict[str, float]
    shape: ZooShape
    curve: list[dict[str, float]]


def fit_branch(
    corpus: Corpus,
    tasks: Sequence[ReadTask],
    seed: int,
    options: GraphOptions,
    about: str,
    device: str = "cpu",
    held_out: Corpus | None = None,
) -> Branch:
    """Train one graph network on the tasks of one kind; `about` decides in which coordinates networks are read.

    On `held_out` the loss is followed beside training, so that a curve shows where learning by heart begins; nothing is
    learned or stopped by it.

    Weights are drawn from a stream of their own, so that what was trained before changes nothing.
    """
    members = compile_population(corpus.population, about == "function")
    shape = shape_of(corpus.population)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, f"nwpa/{about}"))
        branch = Branch(about, build_net(shape, tasks, options), {}, {}, shape, [])
        _start_from_agreements(branch, corpus)
        branch.net.get_used_to([nodes for member in members for nodes in member.nodes])
        targets = {k: t.to(device) for k, t in _scale_targets(branch, corpus, tasks).items()}
        pools = TopologyPools(members, device)
        watched = _watch(branch, held_out, tasks, device) if held_out is not None else None
        branch.net.to(device)
        order = np.random.default_rng(derive_seed(seed, f"order/{about}"))
        _train_branch(branch, pools, targets, options, order, watched)
        branch.net.cpu()  # a reader answers anywhere
    return branch


def build_net(shape: ZooShape, tasks: Sequence[ReadTask], options: GraphOptions) -> GraphNet:
    """An untrained graph network for the kinds of blocks and ends of `shape`."""
    return GraphNet(
        dict(shape.keys),
        dict(shape.identities),
        tasks,
        width=options.width,
        rounds=options.num_layers,
        hidden=options.hidden_dim,
        dropout=options.dropout,
        edge_dropout=options.edge_dropout,
        signals=options.signals,
        use_attention=options.use_attention,
    )


def _start_from_agreements(branch: Branch, corpus: Corpus) -> None:
    """Patterns and templates of the linear path begin at what the zoo agrees on: random ones would take most of training."""
    if "test_accuracy" in corpus.labels:
        accuracy = corpus.labels["test_accuracy"].to_numpy(dtype=float)
        quality = np.nan_to_num(np.clip(accuracy - np.nanquantile(accuracy, 0.25), 0, None))
    else:
        quality = np.ones(len(corpus))
    agreements = learn_agreements(corpus.population, torch.from_numpy(quality), branch.about == "function")
    known = {k: a for k, a in agreements.items() if int(k.split("x")[0]) >= MIN_INPUTS}
    inputs = branch.net.path.patterns
    branch.net.path.start_from({k: a for k, a in known.items() if f"input_{k.split('x')[0]}" in inputs})


def _scale_targets(branch: Branch, corpus: Corpus, tasks: Sequence[ReadTask]) -> dict[str, Tensor]:
    """Standardized values and class numbers; NaN and -1 where not known. The first corpus says center and spread."""
    out = {}
    for task in tasks:
        y = read_labels(corpus, task)
        if task.is_regression:
            branch.center.setdefault(task.name, float(np.nanmean(y)))
            branch.spread.setdefault(task.name, float(np.nanstd(y) + 1e-12))
            out[task.name] = torch.tensor((y - branch.center[task.name]) / branch.spread[task.name]).float()
        else:
            out[task.name] = torch.tensor(np.nan_to_num(y, nan=-1)).long()
    return out


Watched = tuple["TopologyPools", dict[str, Tensor]]  # held-out networks and their targets


def _watch(branch: Branch, held_out: Corpus, tasks: Sequence[ReadTask], device: str) -> Watched:
    """Held-out networks, on which training is stopped."""
    members = compile_population(held_out.population, branch.about == "function")
    targets = {k: t.to(device) for k, t in _scale_targets(branch, held_out, tasks).items()}
    return TopologyPools(members, device), targets


@torch.no_grad()
def _held_out_loss(net: GraphNet, watched: Watched) -> float:
    """The training loss on networks that nothing is learned from, without dropout; mean over networks."""
    pools, targets = watched
    net.eval()
    total, count = 0.0, 0
    for rows, batch in pools.batches(_EVAL_BATCH, None):
        targets_here = {k: t[rows.to(t.device)] for k, t in targets.items()}
        total, count = (
            total + float(multitask_loss(net, net(batch), targets_here)) * len(rows),
            count + len(rows),
        )
    net.train()
    return total / max(1, count)


def _train_branch(
    branch: Branch,
    pools: "TopologyPools",
    targets: dict[str, Tensor],
    options: GraphOptions,
    rng: np.random.Generator,
    watched: Watched | None = None,
) -> None:
    """One branch to its end; the best state on what is watched is kept."""
    net = branch.net
    n_steps = options.epochs * len(list(pools.batches(options.batch_size, rng)))
    # Not by the trainer: its members see batches of one shape, and these are graphs of many.
    optimizer = torch.optim.AdamW(net.parameters(), options.lr, weight_decay=options.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.lr, total_steps=n_steps + 1, pct_start=0.1
    )
    net.train()
    for epoch in range(options.epochs):
        losses = []
        for rows, batch in pools.batches(options.batch_size, rng):
            loss = multitask_loss(net, net(batch), {k: t[rows.to(t.device)] for k, t in targets.items()})
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        branch.curve.append({"epoch": epoch + 1, "loss": float(np.mean(losses))})
        if watched is not None:
            branch.curve[-1]["validation_loss"] = _held_out_loss(net, watched)
    net.eval()


class TopologyPools:
    """Members by topology, each pool padded and stacked once; a batch is an index into it."""

    def __init__(self, members: list[CompiledNetwork], device: str = "cpu", limit: int = 4096) -> None:
        rows: dict[tuple, list[int]] = {}
        for i, m in enumerate(members):
            rows.setdefault(m.key, []).append(i)
        self.members, self.device = members, device
        self.rows = [np.array(r) for r in rows.values()]
        self.stacked = [self._stack([members[i] for i in r], limit) for r in self.rows]

    def _stack(self, members: list[CompiledNetwork], limit: int) -> NetworkBatch | None:
        """All in one, unless padding every one to the widest would fill the memory."""
        every = list(zip(*([n.size for n in m.graph.nodes] for m in members)))
        widest = np.array([max(sizes) for sizes in every])
        uniform = all(len(set(sizes)) == 1 for sizes in every)
        padded = len(members) * np.outer(widest, widest).sum()  # a skip may join any two sets
        if len(members) > limit or not (uniform or padded <= _ROOM):
            return None
        return batch_of(members).to(self.device)

    def batches(self, size: int, rng: np.random.Generator | None) -> Iterator[tuple[Tensor, NetworkBatch]]:
        """All members once, in batches of one topology each; shuffled if `rng` is given."""
        plan = []
        for pool, rows in enumerate(self.rows):
            order = np.arange(len(rows)) if rng is None else rng.permutation(len(rows))
            plan += [(pool, order[i : i + size]) for i in range(0, len(rows), size)]
        if rng is not None:
            plan = [plan[i] for i in rng.permutation(len(plan))]
        for pool, chosen in plan:
            yield torch.from_numpy(self.rows[pool][chosen]), self._batch(pool, chosen)

    def _batch(self, pool: int, chosen: np.ndarray) -> NetworkBatch:
        """Members of one topology are stacked once and indexed; others are padded when drawn."""
        whole = self.stacked[pool]
        if whole is None:
            return batch_of([self.members[i] for i in self.rows[pool][chosen]]).to(self.device)
        at = torch.from_numpy(chosen).to(self.device)
        return whole.map(lambda tensor: tensor[at])


def multitask_loss(net: GraphNet, answers: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
    """Sum over tasks of loss * exp(-s) + s / 2 with a learned s per task (Kendall, Gal and Cipolla, 2018)."""
    total = torch.zeros(())
    for task in net.tasks:
        answer, y = answers[task.name], targets[task.name]
        if task.is_regression:
            known = torch.isfinite(y)
            loss = F.huber_loss(answer[known, 0], y[known]) if known.any() else None
        else:
            known = y >= 0
            loss = F.cross_entropy(answer[known], y[known]) if known.any() else None
        if loss is not None:
            spread = net.log_spread[task.name]
            total = total + loss * torch.exp(-spread) + spread / 2
    return total


@torch.no_grad()
def predict_branch(branch: Branch, population: Population) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Answers by task, and the vector that each network is summarized in."""
    branch.shape.refuse_strangers(shape_of(population))
    members = compile_population(population, branch.about == "function")
    answers: dict[str, np.ndarray] = {}
    vectors = np.zeros((len(members), branch.net.summary_width))
    for rows, batch in TopologyPools(members).batches(_EVAL_BATCH, None):
        states = branch.net.states(batch)
        at = rows.numpy()  # a one-element tensor would index like a number
        vectors[at] = branch.net.summary(batch, states).numpy()
        for task in branch.net.tasks:
            raw = branch.net.answer(batch, states)[task.name]
            value = _undo_scaling(branch, task, raw)
            answers.setdefault(task.name, np.zeros((len(members), *value.shape[1:])))[at] = value
    return answers, vectors


def _undo_scaling(branch: Branch, task: ReadTask, raw: Tensor) -> np.ndarray:
    """Answers in the task's own units, or probabilities."""
    if task.is_regression:
        return (raw[:, 0] * branch.spread[task.name] + branch.center[task.name]).double().numpy()
    return raw.double().softmax(1).numpy()


@torch.no_grad()
def read_attention(branch: Branch, population: Population) -> list[dict[str, Any]]:
    """For the first network: how its neurons share the weight in their layer's summary, and what each is called.

    Pixels are called by row and column where there is a square of them, classes and hidden neurons by their number.
    """
    members = compile_population(population, branch.about == "function")[:1]
    batch = batch_of(members)
    states = branch.net.states(batch)
    return [
        {
            "layer": node.name,
            "share": (share := branch.net.attention(state, mask)[0]).tolist(),
            "names": name_neurons(node, len(share)),
        }
        for node, state, mask in zip(batch.graph.nodes, states, batch.masks)
    ]


def name_neurons(node: NodeSet, size: int) -> list[str]:
    """What a picture calls `size` neurons of a set: `r2 c5` for a pixel, `class 3` for an output, `#7` for another."""
    side = round(size**0.5)
    if node.is_input and side > 1 and side**2 == size:
        return [f"r{i // side} c{i % side}" for i in range(size)]
    return [f"class {i}" if node.is_output else f"#{i}" for i in range(size)]
