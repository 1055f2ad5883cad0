"""Parts of networks that learned to add, followed back through training: when did each grow, and is the rise theirs?"""

from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import kendalltau
from torch import Tensor

from digsite.base.intervals import seed_interval
from digsite.data import sequences
from digsite.decompose.judge.score import find_frequency, measure_concentration, measure_noise_concentration
from digsite.figures import PALETTE, canvas, styled
from digsite.figures.style import NULL_COLOR
from digsite.joint.config import AddingConfig, GrowthConfig
from digsite.joint.core import growth
from digsite.joint.core.growth import MapParts
from digsite.models import build, parse
from digsite.record.verdict import cite
from digsite.track.core.formation import Formation, date_formation, like_cosines
from digsite.train import Examples, Member, train_ensemble
from digsite.train.layout import Layout
from digsite.worker.run import Run

LEARNED = (
    0.1  # likeness of the final logits to a wave from which on the network has learned it, as in `formation`
)


def study_growth(config: GrowthConfig, run: Run) -> None:
    stored = run.once("training", lambda: train_networks(config))
    run.tensors("checkpoints", {"weights": stored["weights"], "steps": stored["steps"]})
    courses = [open_course(config, stored, k) for k in range(config.networks)]
    parts = [growth.split_map(course.tables[-1], config.energy) for course in courses]
    run.stage("networks", len(courses))
    rows, networks, curves = [], [], []
    for k, course in enumerate(courses):
        examined = examine_course(config, run, k, course, parts)
        rows += examined["parts"]
        networks.append(examined["network"])
        curves.append(examined["curves"])
        run.let_signals_in(k + 1)
    table, summary = pd.DataFrame(rows), pd.DataFrame(networks)
    run.table("parts", table)
    run.table("networks", summary)
    claim_growth(run, table, summary, config)
    run.figure(
        "growth",
        draw_growth(curves[0], table),
        table,
        caption="Parts of the first network as they grow, beside its accuracy; the accuracy without the parts that grew in its rise; "
        "and, for all networks, when a part grew against when its wave formed.",
    )
    run.view("parts", kind="table", source="tables/parts.csv")
    run.headline(["order", "rise_gone", "one_wave", "detected"], hero="growth")
    run.verdict(
        f"Read from the weights at the end, a part holds {cite('one_wave', style='.0%')} of its power in one wave (singular parts: "
        f"{cite('one_wave', 'singular parts', '.0%')}). {_say_order(summary)} Without the parts that grew in it, the accuracy's rise "
        f"is gone in {cite('rise_gone')} of {cite('rise_gone', 'n')} networks, without as many random directions in "
        f"{cite('rise_gone', 'null')}; as many of its parts, whenever they grew, in "
        f"{cite('rise_gone', 'as many of the parts, at random', '.0%')}.",
        on=["order*", "rise*", "lead"],
    )


def _say_order(networks: pd.DataFrame) -> str:
    if not np.isfinite(networks["order"]).any():
        return "No network learned three waves, so there is no order in which they grow."
    return (
        f"The order in which parts grow agrees with the order in which waves form in the logits (Kendall "
        f"{cite('order', style='.2f')}; random directions {cite('order', 'null', '.2f')})."
    )


def train_networks(config: AddingConfig) -> dict[str, Any]:
    """Checkpoints (steps, networks, weights) of networks that differ by seed and, in turn, by weight decay."""
    x, y = sequences.modular_addition(config.modulus)
    draw = torch.Generator().manual_seed(config.seed)
    train, test = sequences.split_indices(len(x), config.share, draw)
    members = [
        Member(
            seed=config.seed * 1000 + i,
            batch=len(train),
            steps=config.steps,
            lr=0.01,
            weight_decay=config.decays[i % len(config.decays)],
            optimizer="adamw",
        )
        for i in range(config.networks)
    ]
    steps = list(range(0, config.steps + 1, config.every))
    done = train_ensemble(make_model(config), Examples(x[train], y[train]), members, checkpoints=steps)
    return {"weights": done.snapshots, "steps": torch.tensor(steps), "test": test}


def make_model(config: AddingConfig) -> torch.nn.Module:
    shape = {"d_embed": config.width // 2, "d_hidden": config.width, "d_out": config.width}
    return build(parse({"kind": "modular_mlp", "modulus": config.modulus, **shape}))


def open_course(config: AddingConfig, stored: dict[str, Any], k: int) -> growth.Course:
    pairs, answers = sequences.modular_addition(config.modulus)
    params = Layout.of(make_model(config)).views(stored["weights"][:, k])
    return growth.Course(stored["steps"].double().numpy(), params, pairs, answers, stored["test"])


def examine_course(
    config: GrowthConfig, run: Run, k: int, course: growth.Course, parts: list[MapParts]
) -> dict[str, Any]:
    """Rows of the parts of network k, a row of the network, and the curves of a figure."""
    steps, own_parts, generator = course.steps, parts[k], run.generator("nulls", k)
    logits = torch.stack([course.logits(s) for s in range(len(steps))])
    accuracy = (logits.argmax(-1) == course.answers)[:, course.test].double().mean(1).numpy()
    waves = like_cosines(logits, course.answers).numpy()
    rise = date_formation(steps, accuracy)
    shares = growth.follow_directions(course.tables, own_parts.directions)
    rows = [
        _part_row(config, k, course, waves, shares[:, c], own_parts, c, rise) for c in range(shares.shape[1])
    ]
    learned = sorted({row["wave"] for row in rows if row["learned"]})
    order = {
        "order": rank_order(rows, "grew", learned),
        "order_detected": rank_order(rows, "jumped", learned),
    }
    order["order_random"] = _null_order(config, course, rows, learned, None, generator)
    strange = parts[(k + 1) % len(parts)].directions if len(parts) > 1 else None
    order["order_other_seed"] = _null_order(config, course, rows, learned, strange, generator)
    chosen = [row["part"] for row in rows if row["in_rise"]]
    cut = _switch_off(config, course, own_parts, chosen, accuracy, generator)
    singular = growth.split_singular_map(course.tables[-1], config.energy)
    turned = growth.turn_parts(own_parts, generator)
    purity = {
        name: float(measure_concentration(p.reads).mean())
        for name, p in (("one_wave", own_parts), ("singular", singular), ("turned", turned))
    }
    return {
        "parts": rows,
        "network": {
            "network": k,
            "learned": len(learned),
            "rise": rise.middle if rise else np.nan,
            **order,
            **purity,
            **cut["row"],
        },
        "curves": {
            "steps": steps,
            "accuracy": accuracy,
            "shares": shares,
            "waves": [r["wave"] for r in rows],
            **cut["curves"],
        },
    }


def _part_row(
    config: GrowthConfig,
    k: int,
    course: growth.Course,
    waves: np.ndarray,
    curve: np.ndarray,
    own_parts: MapParts,
    c: int,
    rise: Formation | None,
) -> dict[str, Any]:
    """What one part is, when it grew, and when its wave formed in the logits by the track room's truth."""
    wave = int(find_frequency(own_parts.reads[:, [c]])[0])
    grown = growth.date_growth(course.steps, curve)
    formed = date_formation(course.steps, waves[:, wave - 1])
    inside = growth.share_within(course.steps, curve, grown.climb, rise) if rise else 0.0
    return {
        "network": k,
        "part": c,
        "wave": wave,
        "power": float(measure_concentration(own_parts.reads[:, [c]])[0]),
        "learned": bool(waves[-1, wave - 1] >= LEARNED and formed is not None),
        "grew": grown.climb.middle if grown.climb else np.nan,
        "jumped": np.nan if grown.jump is None else grown.jump,
        "formed": formed.middle if formed else np.nan,
        "in_window": bool(formed and grown.climb and formed.holds(grown.climb.middle)),
        "in_rise": inside >= config.inside,
        "leads": rise.middle - grown.climb.middle if rise and grown.climb else np.nan,
    }


def rank_order(rows: list[dict[str, Any]], date: str, learned: list[int]) -> float:
    """Kendall's tau between when waves formed and the median date of their parts; not a number for fewer than three."""
    both = [
        (np.nanmedian([row[date] for row in rows if row["wave"] == wave] or [np.nan]), formed)
        for wave in learned
        for formed in [next(row["formed"] for row in rows if row["wave"] == wave)]
        if any(np.isfinite(row[date]) for row in rows if row["wave"] == wave)
    ]
    return float(kendalltau(*zip(*both)).statistic) if len(both) > 2 else float("nan")  # pyright: ignore[reportAttributeAccessIssue]


def _null_order(
    config: GrowthConfig,
    course: growth.Course,
    rows: list[dict[str, Any]],
    learned: list[int],
    strange: Tensor | None,
    generator: torch.Generator,
) -> float:
    """The same with other directions in the places of the parts: random ones, or parts of another network in random order."""
    orders = []
    for _ in range(config.draws):
        if strange is None:
            drawn = torch.randn(config.modulus, len(rows), generator=generator, dtype=torch.float64)
        else:
            drawn = strange[:, torch.randint(strange.shape[1], (len(rows),), generator=generator)]
        shares = growth.follow_directions(course.tables, drawn / drawn.norm(dim=0))
        dates = [growth.date_growth(course.steps, curve, detect=False).climb for curve in shares.T]
        dated = [{**row, "grew": d.middle if d else np.nan} for row, d in zip(rows, dates)]
        orders.append(rank_order(dated, "grew", learned))
    return float(np.nanmean(orders)) if np.isfinite(orders).any() else float("nan")


def _switch_off(
    config: GrowthConfig,
    course: growth.Course,
    own_parts: MapParts,
    chosen: list[int],
    accuracy: np.ndarray,
    generator: torch.Generator,
) -> dict[str, Any]:
    """Accuracy without the parts that grew in the rise, without as many random directions, and without as many other parts.

    The rise is gone where less than half of it is left at the end. Random choices are averaged over `cuts` draws.
    """
    places = list(range(0, len(course.steps), max(1, len(course.steps) // 25)))
    places = sorted({*places, len(course.steps) - 1})
    drawn = [torch.randn(config.modulus, len(chosen), generator=generator) for _ in range(config.cuts)]
    any_parts = [
        own_parts.directions[:, torch.randperm(own_parts.reads.shape[1], generator=generator)[: len(chosen)]]
        for _ in range(config.cuts)
    ]
    without = [course.accuracy(s, own_parts.directions[:, chosen]) for s in places]
    random = [course.accuracy(s, drawn[0]) for s in places]
    half = accuracy[0] + 0.5 * (accuracy[-1] - accuracy[0])
    left = {
        "left": without[-1],
        "left_random": float(np.mean([course.accuracy(-1, each) for each in drawn])),
        "left_any_parts": float(np.mean([course.accuracy(-1, each) for each in any_parts])),
    }
    gone = {name.replace("left", "gone"): bool(value < half) for name, value in left.items()}
    row = {
        "accuracy": float(accuracy[-1]),
        "parts_off": len(chosen),
        "parts": own_parts.reads.shape[1],
        **left,
        **gone,
    }
    return {"row": row, "curves": {"places": course.steps[places], "without": without, "random": random}}


def claim_growth(run: Run, parts: Any, networks: Any, config: GrowthConfig) -> None:
    """Claims over networks, which are the independent units."""

    def over(column: str, least: float, most: float = 1.0) -> Any:
        return seed_interval(networks[column].tolist(), "mean", least=least, most=most)

    run.claim(
        "one_wave",
        interval=seed_interval(networks["one_wave"].tolist(), "median", least=0.0, most=1.0),
        kind="median",
        better="higher",
        null=measure_noise_concentration(config.modulus),
        null_is="white noise",
        rivals={
            "singular parts": float(networks["singular"].mean()),
            "the same, turned": float(networks["turned"].mean()),
        },
        title="Power of a part at its strongest wave",
    )
    null = float(networks["order_random"].mean())
    run.claim(
        "order",
        interval=over("order", -1.0),
        kind="correlation",
        better="higher",
        null=null if np.isfinite(null) else 0.0,
        null_is="random directions",
        rivals={"parts of another seed": float(networks["order_other_seed"].mean())},
        title="Order in which parts grow against the order in which their waves form (Kendall)",
    )
    run.claim(
        "order_detected",
        interval=over("order_detected", -1.0),
        kind="correlation",
        better="higher",
        null=0.0,
        null_is="no order",
        title="The same by the jump detector's dates alone (Kendall)",
    )
    claim_dates(run, parts[parts["learned"]])
    run.claim_share(
        "rise_gone",
        int(networks["gone"].sum()),
        len(networks),
        better="higher",
        null=float(networks["gone_random"].mean()),
        null_is="as many random directions",
        rivals={"as many of the parts, at random": float(networks["gone_any_parts"].mean())},  # pyright: ignore[reportCallIssue]
        title="Networks whose rise is gone without the parts that grew in it",
    )


def claim_dates(run: Run, known: Any) -> None:
    """Of the parts whose wave the network has learned."""
    run.claim_share(
        "detected",
        int(known["jumped"].notna().sum()),
        len(known),
        better="higher",
        null=0.05,
        null_is="the detector's level",
        title="Parts whose growth the jump detector takes for real",
    )
    lead = seed_interval([float(g["leads"].median()) for _, g in known.groupby("network")], "median")
    run.claim(
        "lead",
        interval=lead,
        unit=" steps",
        kind="median",
        title="Steps by which parts grow before the accuracy",
    )


@styled
def draw_growth(curves: dict[str, Any], parts: pd.DataFrame) -> Any:
    figure, (shares, accuracy, order) = canvas(1, 3, width=9.6, height=3.2)
    known = sorted(set(curves["waves"]))
    for c, wave in enumerate(curves["waves"]):
        first = curves["waves"].index(wave) == c
        label = f"wave {wave}" if first else None
        shares.plot(
            curves["steps"],
            curves["shares"][:, c],
            color=PALETTE[known.index(wave) % len(PALETTE)],
            label=label,
        )
    shares.set(xlabel="training step", ylabel="share of the map's energy", title="Parts of one network")
    shares.set_ylim(0, 1.45 * float(np.max(curves["shares"])))
    shares.legend(loc="upper center", ncols=min(3, len(known)), fontsize=7)
    accuracy.plot(curves["steps"], curves["accuracy"], color="black", label="whole")
    accuracy.plot(curves["places"], curves["without"], color=PALETTE[1], label="without its parts")
    accuracy.plot(
        curves["places"],
        curves["random"],
        color=NULL_COLOR,
        linestyle="--",
        label="without random directions",
    )
    accuracy.set(
        xlabel="training step",
        ylabel="test accuracy",
        title="The rise of that network",
        ylim=(-0.03, 1.4),
        yticks=np.linspace(0, 1, 6),
    )
    accuracy.legend(loc="upper left", fontsize=7)
    shown = parts[parts["learned"]]
    order.plot(shown["formed"], shown["grew"], "o", color=PALETTE[0], markersize=3, alpha=0.6)
    order.axline((0, 0), slope=1, color=NULL_COLOR, linewidth=1, linestyle="--")
    order.set(
        xlabel="step at which its wave forms", ylabel="step at which the part grows", title="All networks"
    )
    return figure
