"""Toy studies: train targets, decompose all of them at once, score against the truth, claim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from digsite.decompose.config import EarlyStop, ToyConfig
from digsite.decompose.core.decomposition import Components, Decomposition
from digsite.decompose.core.fit import Fit, Problem, Vary
from digsite.decompose.experiments import showing
from digsite.decompose.judge import baselines, score
from digsite.decompose.judge import verdict as report
from digsite.decompose.judge.metrics import View
from digsite.decompose.judge.score import Row
from digsite.decompose.subjects import targets

if TYPE_CHECKING:
    from digsite.worker.run import Run


EVAL_BATCHES = 4
RIVALS = {
    "svd": "singular vectors of the same weights",
    "rotated": "the found parts after a random rotation",
    "untrained": "the same method on an untrained target",
}
# What is judged beside rivals: errors and hits of all modules together, directions module by module.
RIVAL_TOTALS = ("error_0.2", "recovered_0.2", "features_recovered")
RIVAL_ENDS = ("/mmcs", "/alive_components")


@dataclass
class Group:
    """The members of one run among those of all runs that are stacked."""

    config: ToyConfig
    run: Run
    models: list[nn.Module]  # trained targets, then the untrained one
    first: int = 0
    stacked: bool = True
    course: list[Row] = field(default_factory=list)
    kept: list[dict[str, Tensor]] | None = None  # parameters at the step at which this run stopped

    @property
    def seeds(self) -> list[int]:
        """One per member."""
        return list_seeds(self.config, self.run)

    @property
    def names(self) -> list[int]:
        """Seeds of all members, the one with an untrained target last."""
        return [*self.seeds, *([self.run.derive("member", -1) % 2**31] if self.config.untrained else [])]

    @property
    def trained(self) -> slice:
        """Its members among those of all runs that train together."""
        return slice(self.first, self.first + self.config.seeds)

    @property
    def members(self) -> range:
        """Their numbers in the stacked training."""
        return range(self.first, self.first + len(self.models))


def list_seeds(config: ToyConfig, run: Run) -> list[int]:
    """One seed per member, from the run's own stream."""
    return [run.derive("member", config.seed + k) % 2**31 for k in range(config.seeds)]


def study_toy(config: ToyConfig, run: Run) -> None:
    """One run is a pack of one."""
    pack_toy([config], [run])


def pack_toy(configs: list[ToyConfig], runs: list[Run]) -> None:
    """Runs that differ by seed, loss coefficients or learning rate, in one stacked program; each as if alone."""
    trained = iter(train_all_targets(configs, runs))
    groups = []
    for config, run in zip(configs, runs, strict=True):
        blank = [targets.build_untrained(config.target, config.seed)] if config.untrained else []
        groups.append(Group(config, run, [*islice(trained, config.seeds), *blank]))
    place_groups(groups)
    fit = stack_groups(groups)
    check_group(fit, groups[0], 0)  # a truth that the modules cannot have is refused before the first step
    train_groups(fit, groups)
    for group in groups:
        conclude_group(fit, group)


def train_all_targets(configs: list[ToyConfig], runs: list[Run]) -> list[nn.Module]:
    """All of them are trained at once, or loaded, and kept by the first run."""
    target = configs[0].target
    seeds = [seed for config, run in zip(configs, runs, strict=True) for seed in list_seeds(config, run)]

    def make_targets() -> list[nn.Module]:
        if not target.pretrained:
            return targets.train_targets(target, seeds)
        loaded = targets.load_targets(target, len(seeds))
        for reference, model in zip(target.pretrained, loaded):
            if not targets.is_sound(target, model):
                runs[0].say(
                    f"'{reference}' does not do its task: what is found will not be what should be there."
                )
        return loaded

    states = runs[0].once("targets", lambda: [m.state_dict() for m in make_targets()])
    models = [targets.build_untrained(target, 0) for _ in states]
    for model, state in zip(models, states, strict=True):
        model.load_state_dict(state)
    return models


def place_groups(groups: list[Group]) -> None:
    """Where the members of each run are in the stack."""
    n = 0
    for group in groups:
        group.first, n = n, n + len(group.models)


def stack_groups(groups: list[Group]) -> Fit:
    """All members of all runs in one training; coefficients and rates may differ from member to member."""
    config, run = groups[0].config, groups[0].run
    sample = targets.sample_features(config.target, config.decompose.batch)
    owners = [group.config.decompose for group in groups for _ in group.models]
    vary = None
    if any(own != config.decompose for own in owners):
        coeffs = torch.tensor([[loss.coeff for loss in own.losses.values()] for own in owners])
        vary = Vary(coeffs, torch.tensor([own.lr / config.decompose.lr for own in owners]))
    models = [model for group in groups for model in group.models]
    names = [name for group in groups for name in group.names]
    return Fit(Problem(models, config.modules, sample), config.decompose, names, vary=vary, device=run.device)


def train_groups(fit: Fit, groups: list[Group]) -> None:
    """All members step together; the members of a run may stop together."""
    config, leader = groups[0].config, groups[0].run

    def save() -> dict[str, Any]:
        return {"fit": fit.read_state(), "groups": [[g.course, g.kept, g.stacked] for g in groups]}

    def load(state: dict[str, Any]) -> None:
        for group, stored in zip(groups, state["groups"], strict=True):
            group.course, group.kept, _ = stored
        restack_groups(fit, groups, [stacked for _, _, stacked in state["groups"]])
        fit.load_state(state["fit"])

    for step in leader.steps(config.decompose.steps, save=save, load=load):
        terms = fit.step(step)
        for group in groups:
            if group.kept is None:
                follow_group(fit, group, step, terms)
        going = [group.kept is None for group in groups]
        if not any(going):
            break
        left = sum(len(g.models) for g, goes in zip(groups, going, strict=True) if goes)
        # Each size of the stack costs a compilation where steps are compiled: then it is halved and not thinned out.
        if left < len(fit.seeds) and (2 * left <= len(fit.seeds) or not fit.is_compiled):
            restack_groups(fit, groups, going)


def restack_groups(fit: Fit, groups: list[Group], stays: list[bool]) -> None:
    """Runs that have stopped leave the stack."""
    inside = [group for group, stay in zip(groups, stays, strict=True) if stay]
    if len(inside) < sum(group.stacked for group in groups):
        fit.keep_members([k for group in inside for k in group.members])
    for group, stay in zip(groups, stays, strict=True):
        group.stacked = stay
    place_groups(inside)


def follow_group(fit: Fit, group: Group, step: int, terms: dict[str, Tensor]) -> None:
    """One run's journal and its scores against the truth; its parameters are kept where it stops."""
    config, run = group.config, group.run
    run.progress.step(step + 1)
    if step % config.log_every == 0:
        run.log(
            step, **{f"loss/{name}": float(values[group.trained].mean()) for name, values in terms.items()}
        )
    if (step + 1) % config.check_every and step + 1 < config.decompose.steps:
        return
    group.course.append(check_group(fit, group, step + 1))
    run.log(step, **{key: value for key, value in group.course[-1].items() if key != "step"})
    if why := find_reason_to_stop(group.course, config.stop):
        run.say(f"{why}: stopped after {step + 1} steps.")
        group.kept = [fit.read_member(k) for k in group.members]


def find_reason_to_stop(course: list[Row], stop: EarlyStop) -> str:
    """Recovered at the last checks, or no fewer errors than before them; empty to go on."""
    if (
        stop.checks
        and len(course) >= stop.checks
        and all(row["recovered"] == 1 for row in course[-stop.checks :])
    ):
        return f"All members are recovered at {stop.checks} checks in a row"
    errors = [row["error_mean"] for row in course]
    if (
        stop.patience
        and len(errors) > stop.patience
        and min(errors[-stop.patience :]) >= min(errors[: -stop.patience])
    ):
        return f"The errors have not fallen for {stop.patience} checks"
    return ""


def conclude_group(fit: Fit, group: Group) -> None:
    """Scores, claims and pictures of one run's members."""
    config, run = group.config, group.run
    params = group.kept or [fit.read_member(k) for k in group.members]
    members = [fit.make_on_model(model, own) for model, own in zip(group.models, params, strict=True)]
    rows = run.once("scores", lambda: [score_member(each, config, run) for each in members])
    tell_toys(config, run, members, rows, group.course)


def check_group(fit: Fit, group: Group, step: int) -> Row:
    """Pattern errors of a run's members, in the middle of training."""
    config, errors = group.config, []
    for k in group.members[: config.seeds]:
        probes = score.probe_importance(fit.make_decomposition(k), config.target.model.n_features)
        errors.append(sum(score.count_pattern_errors(probes, config.truth, config.stop.tolerance).values()))
    n = len(errors)
    return {
        "step": step,
        "error_mean": sum(errors) / n,
        "error_max": max(errors),
        "recovered": sum(e == 0 for e in errors) / n,
    }


def score_member(decomposition: Decomposition, config: ToyConfig, run: Run) -> Row:
    """Against what its target is known to do."""
    batch = targets.sample_features(config.target, config.decompose.batch)(run.generator("eval", 0)).to(
        run.device
    )
    return score.score_toy(decomposition, config.truth, batch, config.target.model.n_features)


def tell_toys(
    config: ToyConfig, run: Run, members: list[Decomposition], rows: list[Row], course: list[Row]
) -> None:
    """Claims beside their rivals: trivial decompositions, and the untrained target where one was decomposed."""
    shown, own = members[0], rows[: config.seeds]
    nulls = score_trivial(shown, config, run)
    if config.untrained:
        nulls |= {f"{key}/untrained": value for key, value in rows[-1].items()}
    rivals = sort_rivals(nulls)
    for key in own[0]:
        claim_toy_score(run, own, key, rivals)
    found_in = next((m for m in shown.modules if f"{m}/mmcs" in rivals), None)
    run.headline(
        ["recovered_0.2", "error_0.2", "features_recovered", *([f"{found_in}/mmcs"] if found_in else [])]
    )
    run.verdict(
        report.tell_recovery(own, shown.modules, rivals), on=["*/mmcs", "*/ml2r", "*/alive_components"]
    )
    run.table(
        "members", {"member": list(range(len(rows))), **{key: [row[key] for row in rows] for key in rows[0]}}
    )
    run.table("nulls", {"name": list(nulls), "value": list(nulls.values())})
    if course:
        run.table("course", {key: [row[key] for row in course] for key in course[0]})
    showing.keep_members(run, members[: config.seeds])
    show_toys(config, run, shown, course)


def sort_rivals(nulls: dict[str, float]) -> dict[str, dict[str, float]]:
    """By score, what the trivial decompositions reach."""
    by_rival: dict[str, dict[str, float]] = {}
    for name, value in nulls.items():
        key, _, rival = name.rpartition("/")
        if key in RIVAL_TOTALS or key.endswith(RIVAL_ENDS):
            by_rival.setdefault(key, {})[RIVALS[rival]] = value
    return by_rival


def claim_toy_score(run: Run, rows: list[Row], key: str, rivals: dict[str, dict[str, float]]) -> None:
    """Hits and errors without a rival stand beside what no trained part could miss: nothing found, all wrong."""
    beside: dict[str, Any] = {"rivals": rivals.get(key, {})}
    if key == "recovered_0.2" and not beside["rivals"]:
        beside |= {"null": 0.0, "null_is": "parts mixed by a random rotation are never exact"}
    report.claim_score(run, rows, key, **beside)


def score_trivial(decomposition: Decomposition, config: ToyConfig, run: Run) -> dict[str, float]:
    """Scores of trivial decompositions of the same weights: singular vectors, rotated components."""
    nulls: dict[str, float] = {}
    trivial: dict[str, Callable[[Components], Components]] = {
        "svd": baselines.split_singular,
        "rotated": lambda parts: baselines.rotate_parts(parts, run.generator("rotation")),
    }
    for module in decomposition.modules:
        view = score.view_features(decomposition, module, config.target.model.n_features)
        if view is not None:
            for name, make in trivial.items():
                scores = score.match_true_columns(make(view))
                nulls |= {f"{module}/{key}/{name}": value for key, value in scores.items()}
    return nulls


def show_toys(config: ToyConfig, run: Run, decomposition: Decomposition, course: list[Row]) -> None:
    """Pictures of the first member."""
    sample = targets.sample_features(config.target, config.decompose.batch)
    view = View(
        decomposition,
        lambda i: sample(run.generator("eval", i)).to(run.device),
        EVAL_BATCHES,
        config.target.model.n_features,
        config.truth,
        course=course,
    )
    showing.keep_views(run, view)
    showing.measure_metrics(run, view, config.metrics)
    showing.draw_figures(run, view, config.figures)
