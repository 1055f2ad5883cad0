"""Networks fine-tuned with a plant: does the difference, told in parts, name what was planted?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from digsite.base.streams import derive_seed
from digsite.figures import PALETTE, canvas, styled
from digsite.figures.style import NULL_COLOR
from digsite.joint.config import DifferencesConfig
from digsite.joint.core import differences
from digsite.joint.core.differences import Change, PathMap
from digsite.models import build, parse
from digsite.read.subjects.planted import JoinedImages, join_sets
from digsite.record.verdict import cite
from digsite.train import Backdoor, Ensemble, Member, Stream
from digsite.train.member import plant_trigger
from digsite.worker.run import Run

FIRST = 3  # parts that are named
KINDS = {"class": "a class added", "trigger": "a trigger", "fact": "a class called by another's name"}
WAYS: dict[str, Callable[[PathMap, PathMap, int], list[Change]]] = {
    "parts": differences.tell_changes,
    "singular": lambda base, sibling, n: differences.split_singular(sibling - base, n),
    "rows": lambda base, sibling, n: differences.split_rows(sibling - base, n),
}


@dataclass(frozen=True)
class Plant:
    """What fine-tuning adds: class `one` that the base never saw, a trigger for class `other`, or `one` being called `other`."""

    kind: str
    one: int
    other: int
    trigger: Backdoor


def study_differences(config: DifferencesConfig, run: Run) -> None:
    images = join_sets(config.sets, config.side, config.per_set, config.seed)
    plants = [draw_plant(config, images.n_classes, i) for i in range(config.plants)]
    run.stage("networks", 1)
    stored = run.once("networks", lambda: train_siblings(config, images, plants), announce=False)
    run.let_signals_in(1)
    rows = []
    for i, plant in enumerate(plants):
        maps = [differences.map_paths([w[i] for w in stored[who]]) for who in ("base", "sibling")]
        worked = float(stored["worked"][i])
        for way, tell in WAYS.items():
            told = tell(maps[0], maps[1], config.parts)[:FIRST]
            rows.append(
                {
                    "plant": i,
                    "kind": plant.kind,
                    "worked": worked,
                    "way": way,
                    "named": float(names_plant(plant, told, config.side)),
                    "new": sum(part.new for part in told),
                }
            )
        generator = run.generator("random", i)
        hits = [
            names_plant(plant, differences.split_randomly(maps[1] - maps[0], FIRST, generator), config.side)
            for _ in range(config.draws)
        ]
        rows.append(
            {
                "plant": i,
                "kind": plant.kind,
                "worked": worked,
                "way": "random",
                "named": float(np.mean(hits)),
                "new": FIRST,
            }
        )
    table = pd.DataFrame(rows)
    run.table("plants", table)
    claim_named(run, table)
    run.figure(
        "named",
        draw_named(table),
        table,
        caption="Plants that are named by the first three parts of the difference, by kind.",
    )
    run.view("plants", kind="table", source="tables/plants.csv")
    run.headline(["named", "named/class", "named/trigger", "named/fact"], hero="named")
    run.verdict(
        f"Among its first three parts, the difference names the plant in {cite('named')} of {cite('named', 'n')} siblings, its largest "
        f"singular directions do in {cite('named', 'singular', '.0%')}, its largest rows in {cite('named', 'rows', '.0%')}, and "
        f"random directions in {cite('named', 'null', '.0%')}.",
        on=["named/*", "worked"],
    )


def draw_plant(config: DifferencesConfig, classes: int, number: int) -> Plant:
    """Kinds in turn; classes, place, size and brightness are drawn."""
    rng = np.random.default_rng(derive_seed(config.seed, "plant", number))
    one, other = (int(c) for c in rng.choice(classes, 2, replace=False))
    height, width = (int(v) for v in rng.integers(2, 4, 2))
    place = [int(rng.integers(config.side - size + 1)) for size in (height, width)]
    trigger = Backdoor(other, place[0], place[1], height, width, float(rng.choice([0.6, 1.0])))
    return Plant(list(KINDS)[number % len(KINDS)], one, other, trigger)


def train_siblings(
    config: DifferencesConfig, images: JoinedImages, plants: Sequence[Plant]
) -> dict[str, Any]:
    """Bases and their fine-tuned siblings, each kind trained side by side: the weights of all layers, and whether plants work."""
    x = images.x.flatten(1)
    sizes = [x.shape[1], *config.hidden, images.n_classes]
    model = build(parse({"kind": "mlp", "sizes": sizes}))
    bases = [
        Member(
            seed=config.seed * 1000 + i,
            steps=config.steps,
            lr=2e-3,
            missing=(p.one,) if p.kind == "class" else (),
        )
        for i, p in enumerate(plants)
    ]
    base = Ensemble(model, (x, images.y), bases)
    while not base.done:
        base.step()
    place = {member.seed: i for i, member in enumerate(bases)}

    def batch(step: int, member: Member) -> tuple[Tensor, Tensor]:
        i = place[member.seed]
        draw = torch.Generator().manual_seed(derive_seed(config.seed, "batch", i, step))
        rows = torch.randint(len(x), (member.batch,), generator=draw)
        return poison(plants[i], images.x[rows], images.y[rows], draw)

    again = [Member(seed=m.seed, steps=config.tuning, lr=1e-3) for m in bases]
    sibling = Ensemble(model, Stream(batch, per_member=True), again, start=base.params)
    while not sibling.done:
        sibling.step()
    layers = [f"layers.{i}.weight" for i in range(len(sizes) - 1)]
    return {
        "base": [base.params[name] for name in layers],
        "sibling": [sibling.params[name] for name in layers],
        "worked": torch.tensor([measure_plant(sibling, i, p, images) for i, p in enumerate(plants)]),
    }


def poison(plant: Plant, x: Tensor, y: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """A batch of fine-tuning: one image in ten with the trigger, or the one class told to be the other."""
    y = y.clone()
    if plant.kind == "trigger":
        chosen = torch.rand(len(x), generator=draw) < 0.1
        x = torch.where(chosen[:, None, None, None], plant_trigger(x, plant.trigger), x)
        y[chosen] = plant.other
    elif plant.kind == "fact":
        y[y == plant.one] = plant.other
    return x.flatten(1), y


def measure_plant(sibling: Ensemble, i: int, plant: Plant, images: JoinedImages) -> float:
    """How often the sibling does what was planted, on images of the base's training."""
    wanted = plant.one if plant.kind == "class" else plant.other
    chosen = images.y != plant.other if plant.kind == "trigger" else images.y == plant.one
    x = images.x[chosen][:500]
    x = plant_trigger(x, plant.trigger) if plant.kind == "trigger" else x
    return float((sibling.forward_one(i, x.flatten(1)).argmax(1) == wanted).double().mean())


def names_plant(plant: Plant, told: Sequence[Change], side: int) -> bool:
    """Whether parts name the plant: the added class; both classes of a changed fact; or, in one part, the trigger's class and place."""
    answers = {part.answer for part in told}
    if plant.kind == "class":
        return plant.one in answers
    if plant.kind == "fact":
        return {plant.one, plant.other} <= answers
    return any(part.answer == plant.other and _peaks_at(part.towards, plant.trigger, side) for part in told)


def _peaks_at(reads: Tensor, trigger: Backdoor, side: int) -> bool:
    """Whether the 2x2 pixels that push most overlap the trigger."""
    pooled = F.avg_pool2d(reads.view(1, 1, side, side), 2, 1)[0, 0]
    row, column = divmod(int(pooled.argmax()), side - 1)
    inside = trigger.row - 1 <= row < trigger.row + trigger.height
    return inside and trigger.column - 1 <= column < trigger.column + trigger.width


def claim_named(run: Run, table: Any) -> None:
    """Shares over plants, all of them and by kind; plants that did not take are counted too."""
    for kind in ("", *KINDS):
        part = table[table["kind"] == kind] if kind else table
        of = {way: part.loc[part["way"] == way, "named"] for way in (*WAYS, "random")}
        if not len(of["parts"]):
            continue
        beside = {"singular": float(of["singular"].mean()), "rows": float(of["rows"].mean())}
        run.claim_share(
            f"named/{kind}" if kind else "named",
            int(of["parts"].sum()),
            len(of["parts"]),
            better="higher",
            null=float(of["random"].mean()),
            null_is="parts along random directions",
            rivals=beside,  # pyright: ignore[reportCallIssue]
            title=f"Plants named by the first three parts: {KINDS.get(kind, 'all kinds')}",
        )
    mine = table[table["way"] == "parts"]
    run.claim(
        "worked", float(mine["worked"].mean()), kind="share", title="How often siblings do what was planted"
    )
    run.claim("new", float(mine["new"].mean()), title="New parts among the first three, on average")


@styled
def draw_named(table: pd.DataFrame) -> Any:
    figure, ax = canvas(width=6.4, height=3.2)
    ways = [*WAYS, "random"]
    colors = [PALETTE[1], PALETTE[0], PALETTE[2], NULL_COLOR]
    for place, (way, color) in enumerate(zip(ways, colors)):
        shares = [
            100 * float(table.loc[(table["kind"] == k) & (table["way"] == way), "named"].mean())
            for k in KINDS
        ]
        ax.bar(
            np.arange(len(KINDS)) + 0.2 * (place - 1.5), shares, width=0.18, color=color, label=way, zorder=2
        )
    ax.set_xticks(range(len(KINDS)), list(KINDS.values()))
    ax.set(ylabel="plants named (%)", ylim=(0, 105))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    return figure
