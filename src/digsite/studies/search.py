"""Adaptive search by one asking process: trials are run directories, so asking again from the start finds them done."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from digsite.base import streams
from digsite.base.errors import UsageError, name_nearest, require_package
from digsite.config.space import Point, Space
from digsite.record.layout import RunDir
from digsite.record.results import Results
from digsite.record.shown import read_claims
from digsite.record.sweeps import Sweep
from digsite.studies import sweep as planner
from digsite.studies.find import Size, Study
from digsite.studies.plan import plan_run


@dataclass(frozen=True)
class Goal:
    """Which claim should become least or greatest, and how many settings may be tried."""

    claim: str
    direction: Literal["minimize", "maximize"]
    trials: int
    at_once: int = 4  # asked for together; part of what makes a search repeatable
    seed: int = 0


@dataclass(frozen=True)
class Trial:
    """One setting with its runs, one for each seed, and the mean of what they claim; None when one failed."""

    asked: dict[str, Any]
    point: Point
    jobs: tuple[planner.Job, ...]
    value: float | None = None


class Search:
    """Every round asks for new settings, knowing all earlier ones; a round depends on nothing else."""

    def __init__(self, study: Study, space: Space, goal: Goal, *, size: Size = "full") -> None:
        self.study, self.goal = study, goal
        self.size: Size = size
        self.optuna: Any = require_package("optuna", extra="search")
        self.seeds = {path: values for path, values in space.values.items() if _is_seed(path)}
        self.values = {path: values for path, values in space.values.items() if not _is_seed(path)}
        self.drawn = space.drawn
        if not self.values and not self.drawn:
            raise UsageError("There is nothing to search.", hint="Write key=log(low,high) or key=v1,v2.")
        space.check()

    def run(
        self, root: Path, execute: Callable[[Sweep], int], name: str | None = None
    ) -> tuple[int, list[Trial]]:
        """Ask, plan, execute and read, round after round; called again it repeats itself up to where it was."""
        trials: list[Trial] = []
        name = name or streams.content_id(
            f"{self.study.name} {self.size} {self.seeds} {self.values} {self.drawn} {self.goal}"
        )
        while len(trials) < self.goal.trials:
            asked = self.ask(trials)
            jobs = [job for trial in [*trials, *asked] for job in trial.jobs]
            sweep = planner.write_sweep(list({job.run_id: job for job in jobs}.values()), root, name=name)
            part = Sweep(sweep.folder, frozenset(job.run_id for trial in asked for job in trial.jobs))
            code = execute(part)
            if part.counts().keys() - {"finished", "failed"}:
                return code or 75, trials
            trials += [self._told(trial, part) for trial in asked]
        return 0, trials

    def ask(self, trials: Sequence[Trial]) -> list[Trial]:
        """The next settings, from a sampler that is made anew with what is known: asking twice gives the same
        answer.
        """
        optuna, n = self.optuna, min(self.goal.at_once, self.goal.trials - len(trials))
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            seed = streams.derive_seed(self.goal.seed, "search", len(trials)) % 2**32
            sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
            study = optuna.create_study(direction=self.goal.direction, sampler=sampler)
            for trial in trials:
                study.add_trial(self._recorded(trial))
            return [self._trial(study.ask(self._distributions()).params) for _ in range(n)]

    def _distributions(self) -> dict[str, Any]:
        """Listed values by their number, drawn ones by their range."""
        kinds = self.optuna.distributions
        listed = {path: kinds.CategoricalDistribution(range(len(v))) for path, v in self.values.items()}
        drawn = {path: kinds.FloatDistribution(d.low, d.high, log=d.log) for path, d in self.drawn.items()}
        return {**listed, **drawn}

    def _recorded(self, trial: Trial) -> Any:
        """A trial as optuna takes it; one without a value has failed."""
        states = self.optuna.trial.TrialState
        return self.optuna.trial.create_trial(
            params=trial.asked,
            distributions=self._distributions(),
            value=trial.value,
            state=states.FAIL if trial.value is None else states.COMPLETE,
        )

    def _trial(self, asked: dict[str, Any]) -> Trial:
        """The jobs of a trial: one for each seed."""
        point = {path: self.values[path][at] if path in self.values else at for path, at in asked.items()}
        repeats = list(Space(self.seeds, {}).points()) if self.seeds else [{}]
        points = [{**point, **repeat} for repeat in repeats]
        jobs = tuple(planner.Job(p, plan_run(self.study, size=self.size, values=p)) for p in points)
        return Trial(asked, point, jobs)

    def _told(self, trial: Trial, sweep: Sweep) -> Trial:
        """With the mean of the claim over its runs, if all have it."""
        runs = {member.run.id: member.run for member in sweep.members}
        values = [_claimed(self.goal.claim, _results(runs[job.run_id])) for job in trial.jobs]
        known = [value for value in values if value is not None]
        value = sum(known) / len(known) if len(known) == len(values) else None
        return Trial(trial.asked, trial.point, trial.jobs, value)


def _results(run: RunDir) -> Results | None:
    """None where a run did not finish or its record is damaged."""
    claims = read_claims(run)
    return claims if isinstance(claims, Results) else None


def _is_seed(path: str) -> bool:
    """Seeds are repeated, not searched: the best of several seeds is luck."""
    return path.rpartition(".")[2] == "seed"


def _claimed(name: str, results: Any) -> float | None:
    """A mistyped claim would otherwise be a search that never learns."""
    if results is None:
        return None
    claims = {claim.name: claim.value for claim in results.claims}
    if name not in claims:
        raise UsageError(f"The runs claim no '{name}'. {name_nearest(name, claims)}")
    return claims[name]
