"""Networks fine-tuned with a plant: does the difference, told in parts, name what was planted?"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

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
POSED = 500  # images that are asked whether a plant works
WAYS: dict[str, Callable[[PathMap, PathMap, int], list[Change]]] = {
    "parts": differences.tell_changes,
    "singular": lambda base, sibling, n: differences.split_singular(sibling - base, n),
    "rows": lambda base, sibling, n: differences.split_rows(sibling - base, n),
}


@dataclass(frozen=True)
class Plant(ABC):
    """What fine-tuning adds: about classes `one` and `other`, or, for the trigger, where it lies."""

    KIND: ClassVar[str]
    one: int
    other: int
    trigger: Backdoor

    @property
    def missing(self) -> tuple[int, ...]:
        """Classes that the base never sees."""
        return ()

    @property
    def wanted(self) -> int:
        """What the sibling answers where the plant works."""
        return self.other

    @abstractmethod
    def poison(self, x: Tensor, y: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """A batch of fine-tuning: images and labels, changed."""

    def pose(self, images: JoinedImages) -> Tensor:
        """Images on which a sibling shows whether it learned the plant."""
        return images.x[images.y == self.one][:POSED]

    @abstractmethod
    def is_named(self, changes: Sequence[Change], side: int) -> bool:
        """Whether parts name the plant."""


class AddedClass(Plant):
    """Class `one`, which the base never saw."""

    KIND = "class"

    @property
    def missing(self) -> tuple[int, ...]:
        return (self.one,)

    @property
    def wanted(self) -> int:
        return self.one

    def poison(self, x: Tensor, y: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        return x, y

    def is_named(self, changes: Sequence[Change], side: int) -> bool:
        return self.one in {part.answer for part in changes}


class PlantedTrigger(Plant):
    """A patch on one image in ten, told to be class `other`; named by one part that has its class and its place."""

    KIND = "trigger"

    def poison(self, x: Tensor, y: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        chosen = torch.rand(len(x), generator=draw) < 0.1
        return torch.where(chosen[:, None, None, None], plant_trigger(x, self.trigger), x), torch.where(
            chosen, self.other, y
        )

    def pose(self, images: JoinedImages) -> Tensor:
        return plant_trigger(images.x[images.y != self.other][:POSED], self.trigger)

    def is_named(self, changes: Sequence[Change], side: int) -> bool:
        return any(
            part.answer == self.other and _peaks_at(part.towards, self.trigger, side) for part in changes
        )


class ChangedFact(Plant):
    """Class `one`, told to be `other`; named by parts for both."""

    KIND = "fact"

    def poison(self, x: Tensor, y: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        return x, torch.where(y == self.one, self.other, y)

    def is_named(self, changes: Sequence[Change], side: int) -> bool:
        return {self.one, self.other} <= {part.answer for part in changes}


PLANTS: tuple[type[Plant], ...] = (AddedClass, PlantedTrigger, ChangedFact)


def study_differences(config: DifferencesConfig, run: Run) -> None:
    images = join_sets(config.sets, config.side, config.per_set, config.seed)
    plants = [draw_plant(config, images.n_classes, i) for i in range(config.plants)]
    run.stage("networks", 1)
    stored = run.once("networks", lambda: train_siblings(config, images, plants), announce=False)
    run.let_signals_in(1)
    rows = []
    for i, plant in enumerate(plants):
        base, sibling = (differences.map_paths([w[i] for w in stored[who]]) for who in ("base", "sibling"))
        about = {"plant": i, "kind": plant.KIND, "worked": float(stored["worked"][i])}
        rows += [about | row for row in tell_plant(config, plant, base, sibling, run.generator("random", i))]
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


def tell_plant(
    config: DifferencesConfig, plant: Plant, base: PathMap, sibling: PathMap, draw: torch.Generator
) -> list[dict[str, Any]]:
    """Whether the difference names the plant, in each way of telling it, and at random over some draws."""
    rows = []
    for way, tell in WAYS.items():
        changes = tell(base, sibling, config.parts)[:FIRST]
        named = float(plant.is_named(changes, config.side))
        rows.append({"way": way, "named": named, "new": sum(part.new for part in changes)})
    hits = [
        plant.is_named(differences.split_randomly(sibling - base, FIRST, draw), config.side)
        for _ in range(config.draws)
    ]
    return [*rows, {"way": "random", "named": float(np.mean(hits)), "new": FIRST}]


def draw_plant(config: DifferencesConfig, classes: int, number: int) -> Plant:
    """Kinds in turn; classes, place, size and brightness are drawn."""
    rng = np.random.default_rng(derive_seed(config.seed, "plant", number))
    first, other = (int(c) for c in rng.choice(classes, 2, replace=False))
    height, width = (int(v) for v in rng.integers(2, 4, 2))
    corner = [int(rng.integers(config.side - size + 1)) for size in (height, width)]
    trigger = Backdoor(other, corner[0], corner[1], height, width, float(rng.choice([0.6, 1.0])))
    return PLANTS[number % len(PLANTS)](first, other, trigger)


def train_siblings(
    config: DifferencesConfig, images: JoinedImages, plants: Sequence[Plant]
) -> dict[str, Any]:
    """Bases and their fine-tuned siblings, each kind trained side by side: the weights of all layers, and whether plants work."""
    x = images.x.flatten(1)
    sizes = [x.shape[1], *config.hidden, images.n_classes]
    model = build(parse({"kind": "mlp", "sizes": sizes}))
    bases = [
        Member(seed=config.seed * 1000 + i, steps=config.steps, lr=2e-3, missing=p.missing)
        for i, p in enumerate(plants)
    ]
    base = Ensemble(model, (x, images.y), bases)
    while not base.done:
        base.step()
    row_of = {member.seed: i for i, member in enumerate(bases)}

    def batch(step: int, member: Member) -> tuple[Tensor, Tensor]:
        i = row_of[member.seed]
        draw = torch.Generator().manual_seed(derive_seed(config.seed, "batch", i, step))
        rows = torch.randint(len(x), (member.batch,), generator=draw)
        shown, labels = plants[i].poison(images.x[rows], images.y[rows], draw)
        return shown.flatten(1), labels

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


def measure_plant(sibling: Ensemble, i: int, plant: Plant, images: JoinedImages) -> float:
    """How often the sibling does what was planted, on images of the base's training."""
    answers = sibling.forward_one(i, plant.pose(images).flatten(1)).argmax(1)
    return float((answers == plant.wanted).double().mean())


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
    rows = table[table["way"] == "parts"]
    run.claim(
        "worked", float(rows["worked"].mean()), kind="share", title="How often siblings do what was planted"
    )
    run.claim("new", float(rows["new"].mean()), title="New parts among the first three, on average")


@styled
def draw_named(table: pd.DataFrame) -> Any:
    figure, ax = canvas(width=6.4, height=3.2)
    ways = [*WAYS, "random"]
    colors = [PALETTE[1], PALETTE[0], PALETTE[2], NULL_COLOR]
    for position, (way, color) in enumerate(zip(ways, colors)):
        shares = [
            100 * float(table.loc[(table["kind"] == k) & (table["way"] == way), "named"].mean())
            for k in KINDS
        ]
        ax.bar(
            np.arange(len(KINDS)) + 0.2 * (position - 1.5),
            shares,
            width=0.18,
            color=color,
            label=way,
            zorder=2,
        )
    ax.set_xticks(range(len(KINDS)), list(KINDS.values()))
    ax.set(ylabel="plants named (%)", ylim=(0, 105))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    return figure
