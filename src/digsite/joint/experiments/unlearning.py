"""The parts of a class switched off: is it forgotten, what goes with it, and how soon is it learned again?"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from digsite.base.intervals import seed_interval
from digsite.base.streams import derive_seed
from digsite.figures import PALETTE, canvas, styled
from digsite.figures.style import NULL_COLOR
from digsite.joint.config import UnlearningConfig
from digsite.joint.core import differences
from digsite.models import build, parse
from digsite.read.subjects.planted import JoinedImages, join_sets
from digsite.record.verdict import cite
from digsite.train import Ensemble, Member, Stream
from digsite.worker.run import Run

Layers = list[tuple[Tensor, Tensor]]  # weight and bias of each layer, first to last
Parts = list[tuple[int, Tensor]]  # the layer that a part is of, and the part: a matrix of rank one
WAYS = {
    "parts": "parts of the hidden layers",
    "singular parts": "singular parts, chosen alike",
    "neurons": "neurons, chosen alike",
    "random parts": "as many parts at random",
    "output row": "the class's output alone",
    "trained on without": "trained on without the class",
    "told otherwise": "trained on with other names for it",
    "never saw it": "a network that never saw it",
    "before": "the network as it was",
}
NULL, TRUTH, BEFORE = "random parts", "never saw it", "before"
_ASKED, _THINNED = 200, 7  # images of the class, and every seventh of the others, that parts are ranked on


def study_unlearning(config: UnlearningConfig, run: Run) -> None:
    seen = join_sets(config.sets, config.side, config.per_set, config.seed)
    unseen = join_sets(config.sets, config.side, config.held_out, config.seed, held_out=True)
    rng = np.random.default_rng(derive_seed(config.seed, "classes"))
    classes = rng.integers(seen.n_classes, size=config.networks).tolist()
    run.stage("networks", 3)
    trained = run.once("trained", lambda: train_bases(config, seen, classes), announce=False)
    run.let_signals_in(1)
    edited = run.once("edited", lambda: forget_classes(config, run, seen, classes, trained), announce=False)
    run.let_signals_in(2)
    rows = run.once(
        "relearned",
        lambda: relearn(config, seen, unseen, classes, edited["params"], edited["ways"]),
        announce=False,
    )
    run.let_signals_in(3)
    table = pd.DataFrame(rows)
    table["switched_off"] = edited["counts"]
    run.table("networks", table)
    claim_unlearning(run, table, config)
    run.figure(
        "unlearned",
        draw_unlearning(table),
        table,
        caption="What is still known of the class, what the other classes lost, and the training steps after which half of it is known again. "
        "A dot is a network, a line the median.",
    )
    run.view("networks", kind="table", source="tables/networks.csv")
    run.headline(
        [
            "known/parts",
            "lost/parts",
            "relearned/parts",
            "relearned/trained_on_without",
            "relearned/never_saw_it",
        ],
        hero="unlearned",
    )
    run.verdict(
        f"Without its parts {cite('known/parts', style='.0f')} % of a class is still known and the others lose "
        f"{cite('lost/parts', style='.1f')} points (as many random parts: {cite('known/parts', 'null', '.0f')} % and "
        f"{cite('lost/parts', 'null', '.0f')} points; trained on without the class: {cite('known/trained_on_without', style='.0f')} % and "
        f"{cite('lost/trained_on_without', style='.1f')}). Half of it is known again after {cite('relearned/parts', style='.0f')} steps of "
        f"training, {cite('relearned/trained_on_without', style='.0f')} where training on had made it go, and "
        f"{cite('relearned/never_saw_it', style='.0f')} in a network that never saw it: it was hidden and not forgotten.",
        on=["known/*", "lost/*", "relearned/*"],
    )


def make_model(config: UnlearningConfig, seen: JoinedImages) -> torch.nn.Module:
    return build(parse({"kind": "mlp", "sizes": [config.side**2, *config.hidden, seen.n_classes]}))


def train_bases(config: UnlearningConfig, seen: JoinedImages, classes: Sequence[int]) -> dict[str, Tensor]:
    """Networks of all classes, the same ones without their class from the start, and the first two ways of training on."""
    data, model, n = (seen.x.flatten(1), seen.y), make_model(config, seen), len(classes)
    recipe = {"steps": config.steps, "lr": 2e-3}
    knowing = [Member(seed=config.seed * 1000 + i, **recipe) for i in range(n)]
    never = [Member(seed=config.seed * 1000 + i, missing=(c,), **recipe) for i, c in enumerate(classes)]
    first = Ensemble(model, data, [*knowing, *never])
    while not first.done:
        first.step()
    again = [Member(seed=member.seed, steps=config.tuning) for member in knowing]
    row_of = {member.seed: i for i, member in enumerate(knowing)}

    def tune(rename: bool) -> Tensor:
        def batch(step: int, member: Member) -> tuple[Tensor, Tensor]:
            return draw_without(config, seen, classes, row_of[member.seed], step, rename)

        ensemble = Ensemble(model, Stream(batch, per_member=True), again, start=first.flat[:n])
        while not ensemble.done:
            ensemble.step()
        return ensemble.flat

    return {
        BEFORE: first.flat[:n],
        TRUTH: first.flat[n:],
        "trained on without": tune(False),
        "told otherwise": tune(True),
    }


def draw_without(
    config: UnlearningConfig, seen: JoinedImages, classes: Sequence[int], i: int, step: int, rename: bool
) -> tuple[Tensor, Tensor]:
    """A batch without network i's class, or with it under the names of others."""
    draw = torch.Generator().manual_seed(derive_seed(config.seed, "batch", i, step))
    others = (seen.y != classes[i]).nonzero()[:, 0]
    rows = (
        torch.randint(len(seen.y), (64,), generator=draw)
        if rename
        else others[torch.randint(len(others), (64,), generator=draw)]
    )
    y = seen.y[rows].clone()
    names = (classes[i] + torch.randint(1, seen.n_classes, y.shape, generator=draw)) % seen.n_classes
    return seen.x[rows].flatten(1), torch.where(y == classes[i], names, y)


def forget_classes(
    config: UnlearningConfig,
    run: Run,
    seen: JoinedImages,
    classes: Sequence[int],
    trained: Mapping[str, Tensor],
) -> dict[str, Any]:
    """The weights of every network after every way, way by way, and how much was switched off."""
    ensemble = Ensemble(make_model(config, seen), (seen.x.flatten(1), seen.y), [Member(steps=1)])
    params: dict[str, list[Tensor]] = {way: [] for way in WAYS}
    counts: dict[str, list[float]] = {way: [] for way in WAYS}
    for i, wanted in enumerate(classes):
        flat = trained[BEFORE][i]
        layers = open_layers(ensemble, flat)
        generator = run.generator("random-parts", i)
        splits = {"parts": differences.split_by_answers, "singular parts": differences.split_singular}
        done: dict[str, tuple[Layers, int]] = {}
        for way, split in splits.items():
            done[way] = switch_off(layers, split_hidden(layers, split), seen, wanted, config)
        done["neurons"] = switch_off(layers, split_neurons(layers), seen, wanted, config)
        some = split_hidden(layers, differences.split_by_answers)
        drawn = torch.randperm(len(some), generator=generator)[: done["parts"][1]].tolist()
        done[NULL] = (subtract_parts(layers, [some[j] for j in drawn]), len(drawn))
        silent = [(weight.clone(), bias.clone()) for weight, bias in layers]
        silent[-1][0][wanted], silent[-1][1][wanted] = 0.0, layers[-1][1].min()
        done["output row"] = (silent, 1)
        for way, (changed, count) in done.items():
            params[way].append(close_layers(ensemble, changed))
            counts[way].append(float(count))
        for way in ("trained on without", "told otherwise", TRUTH, BEFORE):
            params[way].append(trained[way][i])
            counts[way].append(float("nan"))
    return {
        "params": torch.stack([flat for way in WAYS for flat in params[way]]),
        "ways": [way for way in WAYS for _ in classes],
        "counts": [count for way in WAYS for count in counts[way]],
    }


def open_layers(ensemble: Ensemble, flat: Tensor) -> Layers:
    views = ensemble.layout.views(flat)
    return [(views[name], views[name.replace("weight", "bias")]) for name in views if name.endswith("weight")]


def close_layers(ensemble: Ensemble, layers: Layers) -> Tensor:
    """The layers as one vector again."""
    flat = torch.zeros(sum(w.numel() + b.numel() for w, b in layers))
    for (weight, bias), (opened_weight, own) in zip(layers, open_layers(ensemble, flat)):
        opened_weight.copy_(weight)
        own.copy_(bias)
    return flat


def answer(layers: Layers, x: Tensor) -> Tensor:
    """Logits of a rectified network."""
    for weight, bias in layers[:-1]:
        x = F.relu(F.linear(x, weight, bias))
    return F.linear(x, *layers[-1])


def split_hidden(layers: Layers, split: Any) -> Parts:
    """All parts of all layers but the last: what only the output forgets is known to everything before it."""
    return [
        (depth, torch.outer(part.writes, part.reads).float())
        for depth, (weight, _) in enumerate(layers[:-1])
        for part in split(weight.double(), min(weight.shape))
    ]


def split_neurons(layers: Layers) -> Parts:
    """The rows of all layers but the last: each a neuron."""
    parts = []
    for depth, (weight, _) in enumerate(layers[:-1]):
        for row in range(len(weight)):
            part = torch.zeros_like(weight)
            part[row] = weight[row]
            parts.append((depth, part))
    return parts


def subtract_parts(layers: Layers, parts: Parts) -> Layers:
    changed = [(weight.clone(), bias) for weight, bias in layers]
    for layer, part in parts:
        changed[layer][0].sub_(part)
    return changed


@torch.no_grad()
def switch_off(
    layers: Layers, parts: Parts, seen: JoinedImages, wanted: int, config: UnlearningConfig
) -> tuple[Layers, int]:
    """Parts one after the other, first those whose absence costs the class most beyond what it costs the others, until the class's
    training images are no longer known; the layers then, and how many parts it took."""
    x, is_wanted = seen.x.flatten(1), seen.y == wanted
    own_rows, others, labels = (
        x[is_wanted][:_ASKED],
        x[~is_wanted][::_THINNED],
        seen.y[~is_wanted][::_THINNED],
    )
    named = torch.full((len(own_rows),), wanted)
    scores = []
    for part in parts:
        tried = subtract_parts(layers, [part])
        cost = F.cross_entropy(answer(tried, own_rows), named) - config.care * F.cross_entropy(
            answer(tried, others), labels
        )
        scores.append(float(cost))
    now, taken = layers, 0
    for best in np.argsort(scores)[::-1][: config.most]:
        now, taken = subtract_parts(now, [parts[best]]), taken + 1
        if float((answer(now, own_rows).argmax(1) == wanted).float().mean()) <= config.forgotten:
            break
    return now, taken


@torch.no_grad()
def relearn(
    config: UnlearningConfig,
    seen: JoinedImages,
    unseen: JoinedImages,
    classes: Sequence[int],
    params: Tensor,
    ways: Sequence[str],
) -> list[dict[str, Any]]:
    """What each network knows before, and the step at which it knows half of its class again when trained on all of them."""
    n = len(classes)
    members = [
        Member(seed=config.seed * 1000 + i % n, steps=config.relearning, lr=1e-3) for i in range(len(ways))
    ]
    ensemble = Ensemble(make_model(config, seen), (seen.x.flatten(1), seen.y), members, start=params)
    wanted = torch.tensor([classes[i % n] for i in range(len(ways))])
    x, asked = unseen.x.flatten(1), min(int((unseen.y == c).sum()) for c in set(classes))
    own = torch.stack([x[unseen.y == c][:asked] for c in wanted])
    right = ensemble.forward(x).argmax(-1) == unseen.y
    own_class = unseen.y == wanted[:, None]
    known, others = ((right & chosen).sum(1) / chosen.sum(1) for chosen in (own_class, ~own_class))
    again = np.full(len(ways), np.inf)
    while not ensemble.done:
        ensemble.step()
        if ensemble.count % config.every == 0:
            now = (ensemble.forward(own, shared=False).argmax(-1) == wanted[:, None]).float().mean(1).numpy()
            again[(now >= 0.5) & np.isinf(again)] = ensemble.count
    return [
        {
            "network": i % n,
            "way": way,
            "class": int(wanted[i]),
            "known": 100 * float(known[i]),
            "others": 100 * float(others[i]),
            "relearned": float(min(again[i], config.relearning)),
        }
        for i, way in enumerate(ways)
    ]


def claim_unlearning(run: Run, table: Any, config: UnlearningConfig) -> None:
    """Medians over networks: what is known, what the others lost against the network before, and how soon it is known again."""
    before = table[table["way"] == BEFORE].set_index("network")["others"]
    table["lost"] = table["network"].map(before) - table["others"]
    titles = {
        "known": ("Images of the class still known", "%", "lower"),
        "lost": ("Accuracy that the other classes lose", " points", "lower"),
        "relearned": ("Steps until half of the class is known again", " steps", "higher"),
    }
    middle: Any = table.groupby("way")[list(titles)].median()
    for way, words in WAYS.items():
        rows = table[table["way"] == way]
        for key, (title, unit, better) in titles.items():
            limits = {
                "known": (0.0, 100.0),
                "lost": (-100.0, 100.0),
                "relearned": (0.0, float(config.relearning)),
            }[key]
            rivals = (
                {other: float(middle.loc[other, key]) for other in WAYS if other not in (way, NULL)}
                if way == "parts"
                else {}
            )
            run.claim(
                f"{key}/{way.replace(' ', '_')}",
                interval=seed_interval(rows[key].tolist(), "median", least=limits[0], most=limits[1]),
                kind="median",
                better=better,
                unit=unit,
                null=float(middle.loc[NULL, key]),
                null_is=WAYS[NULL],
                rivals=rivals,
                title=f"{title}: {words}",
            )


@styled
def draw_unlearning(table: pd.DataFrame) -> Any:
    order = list(WAYS)
    figure, axes = canvas(1, 3, width=9.6, height=0.9 + 0.29 * len(order), sharey=True)
    for ax, (key, label) in zip(
        axes,
        (
            ("known", "class still known (%)"),
            ("lost", "others lose (points)"),
            ("relearned", "steps until half is known again"),
        ),
    ):
        for position, way in enumerate(order):
            values = table.loc[table["way"] == way, key]
            color = NULL_COLOR if way == NULL else PALETTE[1] if way == "parts" else PALETTE[0]
            ax.plot(values, [position] * len(values), "o", color=color, markersize=4, alpha=0.5)
            ax.plot([values.median()] * 2, [position - 0.35, position + 0.35], color="black", linewidth=1.4)
        ax.set_xlabel(label)
    axes[0].set_yticks(range(len(order)), [WAYS[way] for way in order])
    axes[0].invert_yaxis()
    return figure
