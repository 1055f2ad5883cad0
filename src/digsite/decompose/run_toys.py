"""Toy studies: train targets, decompose all of them at once, score against the truth, claim."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import nn

from digsite.decompose import baselines, report, score, showing, targets
from digsite.decompose.config import ToyConfig
from digsite.decompose.decomposition import Components, Decomposition
from digsite.decompose.fit import Fit, Problem
from digsite.decompose.score import Row
from digsite.decompose.view import View

if TYPE_CHECKING:
    from digsite.worker.run import Run


EVAL_BATCHES = 4


def toy(config: ToyConfig, run: Run) -> None:
    seeds = [run.derive("member", config.seed + k) % 2**31 for k in range(config.seeds)]
    models = load_targets(config, seeds, run)
    names = [*seeds, *([run.derive("member", -1) % 2**31] if config.untrained else [])]
    sample = targets.sampler(config.target, config.decompose.batch)
    fit = Fit(Problem(models, config.modules, sample), config.decompose, names, device=run.device)
    course = train(fit, config, run)
    members = [fit.decomposition(k) for k in range(len(names))]
    rows = run.once("scores", lambda: [_score(found, config, run) for found in members])
    tell(config, run, members, rows, course)


def load_targets(config: ToyConfig, seeds: list[int], run: Run) -> list[nn.Module]:
    states = run.once("targets", lambda: [m.state_dict() for m in targets.train(config.target, seeds)])
    models = []
    for state in states:
        model = targets.untrained(config.target, 0)
        model.load_state_dict(state)
        models.append(model)
    if config.untrained:
        models.append(targets.untrained(config.target, config.seed))
    return models


def train(fit: Fit, config: ToyConfig, run: Run) -> list[Row]:
    """The course of the errors; all members step together, and stop together if they may."""
    course: list[Row] = []
    n_right = [0]

    def save() -> dict[str, Any]:
        return {"fit": fit.state(), "course": course, "right": n_right[0]}

    def load(state: dict[str, Any]) -> None:
        fit.load(state["fit"])
        course[:], n_right[0] = state["course"], state["right"]

    for step in run.steps(config.decompose.steps, save=save, load=load):
        terms = fit.step(step)
        if step % config.log_every == 0:
            run.log(
                step,
                **{f"loss/{name}": float(values[: config.seeds].mean()) for name, values in terms.items()},
            )
        if (step + 1) % config.check_every == 0:
            course.append(check(fit, config, step + 1))
            run.log(step, **{key: value for key, value in course[-1].items() if key != "step"})
            n_right[0] = n_right[0] + 1 if course[-1]["recovered"] == 1 else 0
            if config.stop.checks and n_right[0] >= config.stop.checks:
                run.say(
                    f"All members are recovered at {n_right[0]} checks in a row: stopped after {step + 1} steps."
                )
                break
    return course


def check(fit: Fit, config: ToyConfig, step: int) -> Row:
    """Pattern errors of the members, in the middle of training."""
    errors = []
    for k in range(config.seeds):
        probes = score.probe_importance(fit.decomposition(k), config.target.model.n_features)
        errors.append(sum(score.pattern_errors(probes, config.truth, config.stop.tolerance).values()))
    n = len(errors)
    return {
        "step": step,
        "error_mean": sum(errors) / n,
        "error_max": max(errors),
        "recovered": sum(e == 0 for e in errors) / n,
    }


def _score(found: Decomposition, config: ToyConfig, run: Run) -> Row:
    batch = targets.sampler(config.target, config.decompose.batch)(run.generator("eval", 0)).to(run.device)
    return score.score(found, config.truth, batch, config.target.model.n_features)


def tell(
    config: ToyConfig, run: Run, members: list[Decomposition], rows: list[Row], course: list[Row]
) -> None:
    shown, own = members[0], rows[: config.seeds]
    nulls = null_scores(shown, config, run)
    if config.untrained:
        nulls |= {f"untrained/{key}": value for key, value in rows[-1].items()}
    for key in own[0]:
        _claim(run, own, key, nulls)
    run.claim(
        "recovered",
        report.summarize(own, "recovered_0.2").value,
        n=len(own),
        note="the same as recovered_0.2",
    )
    run.verdict(report.verdict(own, shown.modules, nulls))
    run.table(
        "members", {"member": list(range(len(rows))), **{key: [row[key] for row in rows] for key in rows[0]}}
    )
    run.table("nulls", {"name": list(nulls), "value": list(nulls.values())})
    if course:
        run.table("course", {key: [row[key] for row in course] for key in course[0]})
    showing.keep(run, members[: config.seeds])
    show(config, run, shown, course)


def _claim(run: Run, rows: list[Row], key: str, nulls: dict[str, float]) -> None:
    found = report.summarize(rows, key)
    null = nulls.get(key, nulls.get(f"untrained/{key}"))
    run.claim(key, found.value, low=found.low, high=found.high, n=found.n, null=null, note=report.note(key))


def null_scores(found: Decomposition, config: ToyConfig, run: Run) -> dict[str, float]:
    """Scores of trivial decompositions of the same weights: singular vectors, rotated components."""
    nulls: dict[str, float] = {}
    trivial: dict[str, Callable[[Components], Components]] = {
        "": baselines.svd,
        "rotated/": lambda parts: baselines.rotated(parts, run.generator("rotation")),
    }
    for module in found.modules:
        view = score.feature_view(found, module, config.target.model.n_features)
        if view is not None:
            for prefix, make in trivial.items():
                nulls |= {
                    f"{prefix}{module}/{key}": value for key, value in score.matches(make(view)).items()
                }
    return nulls


def show(config: ToyConfig, run: Run, found: Decomposition, course: list[Row]) -> None:
    sample = targets.sampler(config.target, config.decompose.batch)
    view = View(
        found,
        lambda i: sample(run.generator("eval", i)).to(run.device),
        EVAL_BATCHES,
        config.target.model.n_features,
        config.truth,
    )
    showing.views(run, view)
    showing.measure(run, view, config.metrics)
    showing.draw(run, view, config.figures)
    if len(course) > 1:
        caption = "Pattern errors fall to zero when the components are found."
        run.figure("course", course_figure(course), caption=caption)


def course_figure(course: list[Row]) -> Any:
    from digsite.figures import curves

    steps = [row["step"] for row in course]
    series = {
        key.replace("_", " "): (steps, [row[key] for row in course]) for key in ("error_mean", "error_max")
    }
    return curves(series, x="step", y="wrong entries of the importance pattern")
