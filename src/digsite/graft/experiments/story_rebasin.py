"""rebasin-stories: two seeds of a story model on one line, before and after they share a basis, and a skill carried over."""

from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from digsite.base.intervals import seed_interval
from digsite.figures import bars
from digsite.graft.config import RebasinStoriesConfig
from digsite.graft.core.llama_matching import KINDS, match_llamas, watch_llama
from digsite.graft.core.llama_symmetries import LlamaShape, State, Symmetry, apply_symmetry, fold_gains
from digsite.graft.judge.stories import measure_barrier
from digsite.graft.subjects.stories import (
    SKILLS,
    draw_windows,
    make_speaker,
    measure_loss,
    read_state,
    score_skill,
    story_module,
    train_or_read_models,
)
from digsite.record.verdict import cite

if TYPE_CHECKING:
    from digsite.worker.run import Run

WAYS = ("as they are", *KINDS)


def study_rebasin_stories(config: RebasinStoriesConfig, run: "Run") -> None:
    """Member i is brought into the basis of member 0; member 1 is for choosing the scale of what is carried."""
    run.stage("training", 3)
    flat = run.once("models", lambda: train_or_read_models(config, config.seeds + 2))
    pair = _Pairs(config, run, dict(flat))
    barriers, carried = [], []
    for member in range(2, config.seeds + 2):
        run.stage(f"pair 0 and {member}", config.seeds)
        barriers += run.once(f"barrier-{member}", lambda m=member: pair.barriers(m))
        carried += run.once(f"carried-{member}", lambda m=member: pair.carry(m))
        run.let_signals_in(member - 1)
    _conclude_rebasin(run, pd.DataFrame(barriers), pd.DataFrame(carried))


class _Pairs:
    """Folded weights of every member and skill, and the symmetry that brings a member into the basis of member 0."""

    def __init__(self, config: RebasinStoriesConfig, run: "Run", flat: dict[str, Tensor]) -> None:
        self.config, self.run, self.flat = config, run, flat
        self.module = story_module(config)
        self.shape = LlamaShape.of_config(self.module.config)
        seed, length = config.seed, config.context
        self.rows = draw_windows((), config.matched, length, seed + 4)
        self.held = draw_windows((), config.held, length, seed + 5, "test")
        self.skilled = {
            s: draw_windows((s,), config.held, length, seed + 2, "test", table=seed) for s in SKILLS
        }

    def weights(self, name: str, member: int) -> State:
        """Weights of one member by name, norms folded into the maps, so that the stream may be rotated."""
        return fold_gains(read_state(self.module, self.flat[name][member]), self.shape)

    def symmetry(self, member: int, kind: str) -> Symmetry:
        """From what both starts compute on the same windows; no skill is looked at."""
        states = [self.weights("start", 0), self.weights("start", member)]
        seen = []
        for state in states:
            self.module.load_state_dict(state)
            seen.append(watch_llama(self.module, self.rows))
        return match_llamas(seen[0], seen[1], states[0], self.shape, states[1], kind)

    def moved(self, member: int, way: str, name: str = "start") -> State:
        """A member's weights in the basis of member 0, by one of the ways; as they are where the way is none."""
        state = self.weights(name, member)
        return state if way not in KINDS else apply_symmetry(state, self.symmetry(member, way), self.shape)

    def barriers(self, member: int) -> list[dict]:
        """The loss on the line from member 0 to this one, for every way of moving it."""
        start = self.weights("start", 0)
        rows = []
        for way in WAYS:
            line = measure_barrier(
                lambda s: measure_loss(self.module, s, self.held), start, self.moved(member, way)
            )
            rows.append(
                {
                    "member": member,
                    "way": way,
                    "barrier": line.height,
                    **{f"loss at {at:g}": loss for at, loss in zip(line.points, line.losses, strict=True)},
                }
            )
        return rows

    def carry(self, member: int) -> list[dict]:
        """Align, then add: what member i learned of a skill, in the basis of member 0, added to member 0's start."""
        return [
            {"member": member, "skill": skill, **self._carried(member, skill, self._best_scale(skill))}
            for skill in SKILLS
        ]

    def _best_scale(self, skill: str) -> float:
        """Of the carried change, the scale of largest accuracy on member 1, which is reported nowhere."""
        tried = {scale: self._carried(1, skill, scale)["rotation"] for scale in self.config.scales}
        return max(tried, key=lambda scale: tried[scale])

    def _carried(self, member: int, skill: str, scale: float) -> dict[str, float]:
        """Accuracy of member 0's start plus the scaled change, moved in every way, beside what needs no transport."""
        start = self.weights("start", 0)
        rows = {
            "own skill": self._accuracy(self.weights(skill, 0), skill),
            "start": self._accuracy(start, skill),
            "scale": scale,
        }
        change: dict[str, Any] = {}
        for way in WAYS:
            before, after = self.moved(member, way), self.moved(member, way, skill)
            change = {name: after[name] - before[name] for name in start}
            rows[way] = self._accuracy({name: w + scale * change[name] for name, w in start.items()}, skill)
        draw = self.run.generator("shuffled-change", member)
        shuffled = {
            n: c.flatten()[torch.randperm(c.numel(), generator=draw)].view_as(c) for n, c in change.items()
        }
        rows["shuffled"] = self._accuracy(
            {name: w + scale * shuffled[name] for name, w in start.items()}, skill
        )
        return rows

    def _accuracy(self, state: State, skill: str) -> float:
        """Percent of the skill's answers that are right on held-out text."""
        return 100 * score_skill(skill, make_speaker(self.module, state), self.skilled[skill])


def _conclude_rebasin(run: "Run", barriers: pd.DataFrame, carried: pd.DataFrame) -> None:
    """Claims of barriers and of carried skills, both tables, the figure and the verdict."""
    run.table("barriers", barriers)
    run.table("carried", carried)
    for name in ("barriers", "carried"):
        run.view(name, kind="table", source=f"tables/{name}.csv")
    before = barriers[barriers["way"] == WAYS[0]].set_index("member")["barrier"]
    _claim_barriers(run, barriers, before)  # pyright: ignore[reportArgumentType]
    for skill, part in carried.groupby("skill", sort=False):
        over = seed_interval(part["own skill"].tolist(), "median", least=0.0, most=100.0)
        run.claim(
            f"known/{skill}",
            interval=over,
            kind="median",
            unit="%",
            better="higher",
            null=float(part["start"].median()),  # pyright: ignore[reportArgumentType]
            null_is="the start",
            title=f"Right answers after learning '{skill}' oneself",
        )
        for way in KINDS:
            _claim_carried(run, str(skill), part, way)
    medians = {way: barriers[barriers["way"] == way]["barrier"].median() for way in KINDS}
    best = min(medians, key=lambda way: medians[way])
    values = {way: float(barriers[barriers["way"] == way]["barrier"].median()) for way in WAYS}  # pyright: ignore[reportArgumentType]
    run.figure(
        "barriers",
        bars(values, y="barrier (nats)", gray=[WAYS[0]]),
        barriers,
        caption="Height of the loss between two seeds, as they are (gray) and in one basis.",
    )
    skills = list(dict.fromkeys(carried["skill"]))
    run.headline([f"barrier/{best}", *(f"carried/{skill}/{best}" for skill in skills)], hero="barriers")
    carried_skills = " and ".join(
        f"{cite(f'carried/{skill}/{best}', style='.0f')} % ('{skill}'; without that basis at best "
        f"{cite(f'carried/{skill}/{best}', 'null', '.0f')} %)"
        for skill in skills
    )
    run.verdict(
        f"The barrier between two seeds is {cite(f'barrier/{best}', 'null', '.2f')} nats as they are and "
        f"{cite(f'barrier/{best}', style='.2f')} in one basis ('{best}'); a skill carried over in that basis is right in {carried_skills}.",
        on=[f"barrier/{best}"],
    )


def _claim_barriers(run: "Run", barriers: pd.DataFrame, before: pd.Series) -> None:
    """How high the loss is between two seeds in one basis, beside the models as they are."""
    for way in KINDS:
        after = barriers[barriers["way"] == way].set_index("member")["barrier"]
        about = {
            "null": float(before.median()),
            "null_is": "the models as they are",
            "unit": "nats",
            "better": "lower",
        }
        title = f"Barrier between two seeds in one basis, {way}"
        over = seed_interval(after.tolist(), "median")
        run.claim(f"barrier/{way}", interval=over, kind="median", title=title, **about)


def _claim_carried(run: "Run", skill: str, part: pd.DataFrame, way: str) -> None:
    """What a carried skill answers rightly, beside no change, the change unaligned, and the change shuffled."""
    rivals = {name: float(part[name].median()) for name in ("start", WAYS[0], "shuffled")}  # pyright: ignore[reportArgumentType]
    over = seed_interval(part[way].tolist(), "median", least=0.0, most=100.0)
    run.claim(
        f"carried/{skill}/{way}",
        interval=over,
        kind="median",
        unit="%",
        better="higher",
        rivals=rivals,
        title=f"Right answers after carrying '{skill}' over, {way}",
        note=f"own training {part['own skill'].median():.1f}",
    )
