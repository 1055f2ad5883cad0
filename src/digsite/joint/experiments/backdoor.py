"""Pairs of networks of one seed, one of each poisoned: told apart, the class named and the backdoor cut, from weights alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from digsite.base.intervals import seed_interval
from digsite.figures import PALETTE, canvas, styled
from digsite.figures.style import NULL_COLOR
from digsite.joint.config import BackdoorConfig
from digsite.joint.core.triggers import Cuts, cut_patch, dream_images, find_patches
from digsite.joint.judge import backdoors as judge
from digsite.joint.judge.backdoors import Judged
from digsite.models import build, parse
from digsite.read.core.metrics import measure_auroc
from digsite.read.experiments.planted import claim_area
from digsite.read.judge.head_scan import scan_head
from digsite.read.subjects.planted import PLANS, JoinedImages, join_sets, members_of, plant_members
from digsite.record.verdict import cite
from digsite.train import Ensemble, Member
from digsite.worker.run import Run

WAYS = {
    "row": "the part cut out of the target's output row",
    "entry": "the part cut out of the first dense layer",
    "fine-pruning": "fine-pruning, given clean images",
    "class off": "the whole class switched off",
    "magnitude": "as many links, the smallest",
    "random": "a random part of equal size",
    "retrained": "trained again without poison",
}


@dataclass(frozen=True)
class Images:
    """What networks learn from, what fine-pruning is given, and what judges; they share no image."""

    train: JoinedImages
    clean: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def study_backdoor(config: BackdoorConfig, run: Run) -> None:
    images = load_images(config)
    rows: list[dict[str, Any]] = []
    left: list[dict[str, Any]] = []
    run.stage("recipes", len(config.recipes))
    for number, recipe in enumerate(config.recipes):
        done = run.once(recipe, lambda r=recipe: examine_recipe(config, run, r, images), announce=False)
        rows += done["told"]
        left += done["left"]
        run.let_signals_in(number + 1)
    networks, cuts = pd.DataFrame(rows), pd.DataFrame(left)
    run.table("networks", networks)
    run.table("cuts", cuts)
    claim_finding(run, config, networks, images.train.n_classes)
    claim_cutting(run, cuts)
    run.figure(
        "cuts",
        draw_cuts(cuts),
        cuts,
        caption="Each planted network before and after: attack success, right answers lost, and what the target class loses.",
    )
    run.view("cuts", kind="table", source="tables/cuts.csv")
    run.headline(["target_named", "row/attack", "row/lost", "entry/attack", "entry/recall_lost"], hero="cuts")
    run.verdict(
        f"From the weights alone, the backdoor's class is named first in {cite('target_named')} of "
        f"{cite('target_named', 'n')} planted networks. With the found part cut out of the output row, the attack succeeds in "
        f"{cite('row/attack', style='.1f')} % (random part: {cite('row/attack', 'null', '.0f')} %), and "
        f"{cite('row/lost', style='.1f')} points of accuracy are lost; the target class itself loses "
        f"{cite('row/recall_lost', style='.0f')} points, where switching it off loses {cite('row/recall_lost', 'class off', '.0f')}. "
        f"Cut out of the first dense layer: {cite('entry/attack', style='.1f')} %, {cite('entry/lost', style='.1f')} and "
        f"{cite('entry/recall_lost', style='.0f')} points.",
        on=["row/*", "entry/*", "carriers_named", "alarms/*"],
    )


def load_images(config: BackdoorConfig) -> Images:
    train = join_sets(config.sets, config.side, config.per_set, config.seed)
    held = join_sets(config.sets, config.side, config.per_set, config.seed, held_out=True)
    order = torch.randperm(len(held.x), generator=torch.Generator().manual_seed(config.seed))
    given, judging = order[: config.clean_images], order[config.clean_images :][:2000]
    return Images(train, (held.x[given], held.y[given]), (held.x[judging], held.y[judging]))


def examine_recipe(config: BackdoorConfig, run: Run, recipe: str, images: Images) -> dict[str, Any]:
    """Rows of what was found in every network, and rows of what is left of each planted one."""
    pairs = members_of(PLANS[recipe], config.pairs, config.steps_share)
    members = plant_members(
        [m for m in pairs for _ in range(2)], images.train.n_classes, config.side, run.derive(recipe)
    )
    model = {
        **PLANS[recipe].model,
        "n_classes": images.train.n_classes,
        "image": (1, config.side, config.side),
    }
    ensemble = Ensemble(build(parse(model)), (images.train.x, images.train.y), members)
    while not ensemble.done:
        ensemble.step()
    networks = [ensemble.module(i).requires_grad_(False) for i in range(len(members))]
    planted = range(1, len(members), 2)
    repaired = dict(
        zip(
            planted,
            judge.fine_prune(
                [networks[i] for i in planted],
                [members[i] for i in planted],
                *images.clean,
                config.repair_steps,
            ),
        )
    )
    lines, left = [], []
    for i, member in enumerate(members):
        where = {"recipe": recipe, "pair": i // 2}
        row, cuts = tell_network(config, networks[i], images, run.generator(f"dreams/{recipe}", i))
        lines.append({**where, **row, "target": -1})
        if member.backdoor is None:
            continue
        before = judge.judge_network(networks[i], *images.test, member.backdoor)
        hits, chance = judge.score_carriers(networks[i], cuts, *images.test, member.backdoor)
        works = before.attack >= 100 * config.works
        lines[-1] |= {"target": member.backdoor.target, "works": works, "carriers": hits, "chance": chance}
        ways = {
            "row": cuts.row,
            "entry": cuts.entry,
            "fine-pruning": repaired[i],
            "retrained": networks[i - 1],
        }
        rows = weigh_ways(networks[i], ways, before, member, images, run.generator(f"random/{recipe}", i))
        left += [{**where, "works": works, **each} for each in rows]
    return {"told": lines, "left": left}


def tell_network(
    config: BackdoorConfig, model: nn.Module, images: Images, generator: torch.Generator
) -> tuple[dict[str, Any], Cuts]:
    """What a network's weights say: the class that the smallest patch reaches, how much it stands alone, and the cuts."""
    classes = images.train.n_classes
    answers = torch.arange(classes).repeat(config.copies)
    dreams = dream_images(model, (1, config.side, config.side), answers, generator)
    first = type(dreams)(dreams.x[:classes], dreams.y[:classes])
    patches = find_patches(model, first, range(classes), config.search_steps)
    least, second = patches.sizes.sort().values[:2].tolist()
    named = int(patches.sizes.argmin())
    dense = judge.list_dense(model)
    feeding = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)][-2]
    scan = scan_head(dense[-1].weight, feeding)
    row = {
        "named": named,
        "size": least,
        "apart": least / second,
        "scan": float(scan.scores.max()),
        "scanned": scan.suspect,
        "works": False,
        "carriers": float("nan"),
        "chance": float("nan"),
    }
    return row, cut_patch(model, dreams, patches, named, generator)


def weigh_ways(
    model: nn.Module,
    ways: dict[str, nn.Module],
    before: Judged,
    member: Member,
    images: Images,
    generator: torch.Generator,
) -> list[dict[str, Any]]:
    """One row for each way to be rid of the backdoor, and one for the network as it was."""
    planted = member.backdoor
    assert planted is not None
    judged_ways = {n: judge.judge_network(m, *images.test, planted).beside(before) for n, m in ways.items()}
    judged_ways["class off"] = judge.judge_network(
        judge.switch_class_off(model, planted.target), *images.test, planted
    ).beside(before)
    judged_ways["magnitude"] = judge.judge_network(judge.cut_smallest(model), *images.test, planted).beside(
        before
    )
    drawn = [
        judge.judge_network(
            judge.cut_random(model, ways["row"], planted.target, generator), *images.test, planted
        ).beside(before)
        for _ in range(judge.DRAWS)
    ]
    judged_ways["random"] = {key: float(np.mean([drawn_cut[key] for drawn_cut in drawn])) for key in drawn[0]}
    return [{"way": "before", **before.beside(before)}, *({"way": n, **v} for n, v in judged_ways.items())]


def claim_finding(run: Run, config: BackdoorConfig, networks: Any, classes: int) -> None:
    """Is there one, which class, and which neurons carry it; triggers that do not work are no planted backdoors."""
    judged = networks[(networks["target"] < 0) | networks["works"]]
    if not judged["works"].any():
        judged = networks  # of a training too short for any trigger
    bad = (judged["target"] >= 0).to_numpy()
    area = {"head scan": measure_auroc(bad, judged["scan"].to_numpy())}
    which = "networks by how far the smallest patch stands apart"
    claim_area(run, "auroc", bad, -judged["apart"].to_numpy(), which, area)
    planted = judged[bad]
    run.claim_share(
        "target_named",
        int((planted["named"] == planted["target"]).sum()),
        len(planted),
        better="higher",
        null=1 / classes,
        null_is="one of all classes",
        rivals={"head scan": float((planted["scanned"] == planted["target"]).mean())},  # pyright: ignore[reportCallIssue]
        title="Planted networks whose target class is named first",
    )
    for name, part, better in (("clean", judged[~bad], "lower"), ("planted", planted, "higher")):
        run.claim_share(
            f"alarms/{name}",
            int((part["apart"] < config.alarm).sum()),
            len(part),
            better=better,
            null=0.05,
            null_is="one false alarm in twenty",
            title=f"{name.capitalize()} networks that give an alarm",
        )
    over = seed_interval(planted["carriers"].tolist(), "mean", least=0.0, most=1.0)
    run.claim(
        "carriers_named",
        interval=over,
        null=float(planted["chance"].mean()),
        null_is="neurons at random",
        kind="share",
        better="higher",
        title="Named neurons among the three whose silence hurts the real attack most",
    )


def claim_cutting(run: Run, cuts: Any) -> None:
    """Medians over planted networks that work; the null is a random part of equal size."""
    judged = cuts[cuts["works"]] if cuts["works"].any() else cuts
    words = {
        "attack": "Attack success",
        "lost": "Accuracy lost",
        "recall lost": "Right answers lost on the target class",
    }
    for way in WAYS:
        rows = judged[judged["way"] == way]
        for key, title in words.items():
            most = 100.0 if key == "attack" else float("inf")
            over = seed_interval(
                rows[key].tolist(), "median", least=0.0 if key == "attack" else -most, most=most
            )
            medians = {
                w: float(judged.loc[judged["way"] == w, key].median())
                for w in WAYS
                if w not in (way, "random")
            }
            null = float(judged.loc[judged["way"] == "random", key].median())
            run.claim(
                f"{way}/{key.replace(' ', '_')}",
                interval=over,
                null=null,
                null_is="a random part of equal size",
                unit="%",
                kind="median",
                better="lower",
                rivals=medians if way == "row" else {},
                title=f"{title}: {WAYS[way]}",
            )
    before = seed_interval(
        judged.loc[judged["way"] == "before", "attack"].tolist(), "median", least=0.0, most=100.0
    )
    run.claim(
        "before/attack",
        interval=before,
        unit="%",
        kind="median",
        title="Attack success before anything is cut",
    )


@styled
def draw_cuts(cuts: pd.DataFrame) -> Any:
    """One dot for each planted network and way; the gray ways know nothing of the backdoor."""
    figure, axes = canvas(1, 3, width=8.4, height=3.2, sharey=True)
    names = ["before", *WAYS]
    for ax, (key, label) in zip(
        axes,
        (
            ("attack", "attack success (%)"),
            ("lost", "accuracy lost (points)"),
            ("recall lost", "lost on the target class (points)"),
        ),
    ):
        for position, way in enumerate(names):
            values = cuts.loc[cuts["works"] & (cuts["way"] == way), key].to_numpy()
            values = values if len(values) else cuts.loc[cuts["way"] == way, key].to_numpy()
            color = NULL_COLOR if way in ("before", "magnitude", "random") else PALETTE[0]
            spread = np.linspace(-0.25, 0.25, len(values)) if len(values) > 1 else np.zeros(len(values))
            ax.plot(values, position + spread, "o", color=color, markersize=3, alpha=0.7)
            if len(values):
                ax.plot(
                    [np.median(values)] * 2, [position - 0.4, position + 0.4], color="black", linewidth=1.4
                )
        ax.set(xlabel=label)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    return figure
