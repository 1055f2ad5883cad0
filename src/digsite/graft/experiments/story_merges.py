"""merge-stories: two story models with different skills made into one, every way beside its nulls, over seeds."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor, nn

from digsite.base.intervals import seed_interval
from digsite.data import stories
from digsite.figures import bars
from digsite.graft.config import MergeStoriesConfig
from digsite.graft.core.merges import Evidence, MergeSettings, State, join_vocabularies, merge_vocabularies
from digsite.graft.core.merges.averages import measure_fisher, measure_grams
from digsite.graft.judge.stories import shuffle_change, weigh_randomly
from digsite.graft.subjects.stories import (
    SKILLS,
    draw_windows,
    give_words,
    make_speak,
    make_speaker,
    own_vocabulary,
    read_state,
    score_skill,
    spell_words,
    story_module,
    train_or_read_models,
)
from digsite.record.verdict import cite

if TYPE_CHECKING:
    from digsite.worker.run import Run

KNOWN = 50.0  # % right of a parent's own skill, below which there is nothing to keep
SHUFFLED = {
    "shuffled donor": "task_arithmetic",
    "shuffled donor, learned": "imitation",
}  # by the method that merges it
NULLS = ("best single parent", "random merge weights", *SHUFFLED)


def study_merge_stories(config: MergeStoriesConfig, run: "Run") -> None:
    """Choose each method's settings on one ensemble member, report on all others."""
    run.stage("training", 3)
    flat = run.once("models", lambda: train_or_read_models(config, config.seeds + 2, config.own_words))
    held = {
        skill: draw_windows((skill,), config.held, config.context, config.seed + 2, "test", table=config.seed)
        for skill in SKILLS
    }
    bench = _Bench(config, run, flat, held)
    chosen = run.once("settings", bench.choose_settings)
    couples = pd.DataFrame(run.once("couples", bench.pick_couples))
    run.table("couples", couples)
    rows = []
    for done, member in enumerate(couples[couples["scored"]]["member"].tolist(), 1):
        run.stage(f"couple {member}", config.seeds)
        rows += run.once(f"member-{member}", lambda m=member: bench.score_member(m, chosen))
        run.let_signals_in(done)
    frame = pd.DataFrame(rows)
    run.table("merges", frame)
    _conclude_merges(run, frame, chosen, skipped=not couples["scored"].iloc[: config.seeds].all())


class _Bench:
    """The parents of every member, each in its own vocabulary, and what a merge of them knows."""

    def __init__(
        self, config: MergeStoriesConfig, run: "Run", flat: Mapping[str, Tensor], held: Mapping[str, Tensor]
    ) -> None:
        self.config, self.run, self.flat, self.held = config, run, flat, held
        plain = stories.story_tokenizer().vocabulary
        own = [own_vocabulary(skill, config.seed) if config.own_words else plain for skill in SKILLS]
        self.vocabularies = [*own, plain]  # of the parents, and of the start
        self.modules = [story_module(config, len(words)) for words in self.vocabularies]
        start, parents = self.states(0)
        self.words = join_vocabularies([*parents, start], self.vocabularies, len(parents))[1]

    def states(self, member: int) -> tuple[State, list[State]]:
        """The start of a member and its parents, one per skill."""
        *parents, start = (
            read_state(module, self.flat[name][member])
            for module, name in zip(self.modules, (*SKILLS, "start"), strict=True)
        )
        return start, parents

    def merge(
        self, method: str, parents: Sequence[State], evidence: Evidence, settings: Mapping[str, Any]
    ) -> State:
        """The parents merged over the words of all, by a method and its settings."""
        numbers = MergeSettings(**settings)
        return merge_vocabularies(method, parents, self.vocabularies, evidence, numbers)[0]

    def spell(self, skill: str, words: Mapping[str, int]) -> Tensor:
        """How a text of this skill is spelled in a vocabulary."""
        return spell_words(skill if self.config.own_words else "", words)

    def accuracies(self, state: State) -> dict[str, float]:
        """Percent of both skills' answers that weights over the words of all give rightly."""
        speak = make_speaker(self.modules[-1], state)
        spelled = {skill: self.spell(skill, self.words) for skill in SKILLS}
        return {s: 100 * score_skill(s, speak, self.held[s], spelled[s]) for s in SKILLS}

    def whole(self, parents: Sequence[State]) -> dict[str, float]:
        """Percent of its own skill's answers that each parent gives rightly, in its own words."""
        own = zip(SKILLS, self.modules, self.vocabularies, parents)
        return {
            skill: 100
            * score_skill(skill, make_speaker(module, state), self.held[skill], self.spell(skill, words))
            for skill, module, words, state in own
        }

    def evidence(self, member: int) -> Evidence:
        """Each parent looks at text of its own skill only, as its owner would."""
        config, (start, parents) = self.config, self.states(member)
        fisher, grams, texts = [], [], []
        for skill, words, module, parent in zip(SKILLS, self.vocabularies, self.modules, parents):
            rows = draw_windows((skill,), config.evidence, config.context, config.seed + 3, table=config.seed)
            rows = self.spell(skill, words)[rows]
            loaded = _load_state(module, parent)
            fisher.append(measure_fisher(loaded, rows, self.run.generator(f"fisher-{skill}", member)))
            grams.append(measure_grams(loaded, rows))
            texts.append(rows)
        return Evidence(start, fisher, grams, make_speak(self.modules[-1]), texts)

    def choose_settings(self) -> dict[str, dict[str, Any]]:
        """For every method the settings whose worse skill is best on member 0, which is reported nowhere."""
        _, parents = self.states(0)
        evidence, best = self.evidence(0), {}
        whole = self.whole(parents)
        for method, grid in self.config.methods.items():
            tried = []
            for text in grid or [""]:
                settings = _read_numbers(text)
                accuracies = self.accuracies(self.merge(method, parents, evidence, settings))
                tried.append((min(accuracies[s] / max(whole[s], 1e-9) for s in SKILLS), settings))
            best[method] = max(tried, key=lambda pair: pair[0])[1]
        return best

    def pick_couples(self) -> list[dict[str, Any]]:
        """What the parents of every member know of their skills, and which are scored: the first in which both know enough.

        One more was trained than is scored. Where too few couples are sound, the first ones are taken, and the verdict says so.
        """
        rows: list[dict[str, Any]] = [
            {"member": member, **self.whole(self.states(member)[1])}
            for member in range(1, self.config.seeds + 2)
        ]
        order = sorted(rows, key=lambda row: min(row[skill] for skill in SKILLS) < KNOWN)
        picked = {row["member"] for row in order[: self.config.seeds]}
        return [row | {"scored": row["member"] in picked} for row in rows]

    def score_member(self, member: int, chosen: Mapping[str, dict[str, float]]) -> list[dict]:
        """The parents, every merge with its chosen settings, and every null, on one member that chose nothing."""
        start, parents = self.states(member)
        evidence = self.evidence(member)
        joined = join_vocabularies([*parents, start], self.vocabularies, len(parents))[0]
        whole, rows = self.whole(parents), []

        def scored(name: str, state: State, draw: int = 0) -> None:
            accuracies = self.accuracies(state)
            # A parent that never learned its skill has nothing that could be kept.
            kept = {f"{s} kept": 100 * accuracies[s] / whole[s] if whole[s] else 0.0 for s in SKILLS}
            rows.append(
                {
                    "member": member,
                    "merge": name,
                    "draw": draw,
                    **accuracies,
                    **kept,
                    "worse kept": min(kept.values()),
                }
            )

        scored("start", joined[-1])
        for skill, parent in zip(SKILLS, joined):
            scored(f"parent: {skill}", parent)
        for method, settings in chosen.items():
            scored(method, self.merge(method, parents, evidence, settings))
        draw = self.run.generator("nulls", member)
        for i in range(self.config.null_draws):
            scored("random merge weights", weigh_randomly(joined[:-1], draw), i)
            # each parent in turn loses what it learned; the worse skill is then what the method makes of nothing
            shuffled, at = list(parents), i % 2
            own = give_words(start, SKILLS[at], self.config.seed) if self.config.own_words else start
            shuffled[at] = shuffle_change(own, parents[at], draw)
            for name, method in SHUFFLED.items():
                if method in chosen:
                    scored(name, self.merge(method, shuffled, evidence, chosen[method]), i)
        return rows


def _read_numbers(text: str) -> dict[str, Any]:
    """'scale=0.7 keep=0.5' as numbers."""
    return {key: float(value) for key, value in (word.split("=") for word in text.split())}


def _load_state(module: nn.Module, state: State) -> nn.Module:
    """The module with these weights in it."""
    module.load_state_dict(state)
    return module


def _conclude_merges(
    run: "Run", frame: pd.DataFrame, chosen: Mapping[str, dict[str, float]], skipped: bool
) -> None:
    """Intervals over members of what every merge keeps, its claims beside the strongest null, figure and verdict."""
    per_seed = frame.groupby(["merge", "member"], sort=False).mean(numeric_only=True).drop(columns="draw")
    known = _claim_known(run, per_seed)  # pyright: ignore[reportArgumentType]
    parents = per_seed.loc[[name for name in per_seed.index.levels[0] if name.startswith("parent")]]
    single = parents.groupby("member")["worse kept"].max()
    nulls = {NULLS[0]: float(single.mean())} | {
        name: float(per_seed.loc[name]["worse kept"].mean())
        for name in NULLS[1:]
        if name in per_seed.index.levels[0]
    }
    lines = []
    for name in dict.fromkeys(frame["merge"]):
        own_scores = per_seed.loc[name]
        line: dict = {
            "merge": name,
            "settings": " ".join(f"{k}={v:g}" for k, v in chosen.get(name, {}).items()),
        }
        for column in (*(f"{s} kept" for s in SKILLS), "worse kept"):
            over = seed_interval(own_scores[column].tolist(), "median")
            line |= {column: over.value, f"{column} low": over.low, f"{column} high": over.high}
        lines.append(line)
        if name in chosen:
            _claim_kept(run, name, own_scores, nulls)
    table = pd.DataFrame(lines)
    run.table("summary", table)
    run.view("summary", kind="table", source="tables/summary.csv")
    best = str(table[table["merge"].isin(chosen)].sort_values("worse kept").iloc[-1]["merge"])  # pyright: ignore[reportCallIssue]
    run.figure(
        "kept",
        _draw_kept(table),
        table,
        caption="What every merge keeps of its worse skill, with its interval over couples; gray: no method.",
    )
    run.headline([f"{best}/worse_kept", *(f"{best}/{skill}_kept" for skill in SKILLS)], hero="kept")
    kept = " and ".join(f"{cite(f'{best}/{skill}_kept', style='.1f')} % of '{skill}'" for skill in SKILLS)
    run.verdict(
        f"{_say_doubt(known, skipped)}'{best}' keeps most: {kept} of the parents that have these skills; without a method the strongest rival keeps "
        f"{cite(f'{best}/worse_kept', 'null', '.1f')} % of the worse skill.",
        on=[f"{best}/worse_kept"],
    )


def _say_doubt(known: bool, skipped: bool) -> str:
    """What must be said before any merge: that parents, or some of them, did not learn what was to be kept."""
    if not known:
        return (
            f"The parents hardly know their skills ({cite('known/facts', style='.0f')} % and {cite('known/order', style='.0f')} % right): "
            "train longer before anything is concluded. "
        )
    return "A couple with a parent that hardly learned its skill was replaced. " if skipped else ""


def _claim_known(run: "Run", per_seed: pd.DataFrame) -> bool:
    """What the parents know of their own skill beside the start; False where there is too little to be kept."""
    least = []
    for skill in SKILLS:
        over = seed_interval(
            per_seed.loc[f"parent: {skill}"][skill].tolist(), "median", least=0.0, most=100.0
        )
        run.claim(
            f"known/{skill}",
            interval=over,
            kind="median",
            unit="%",
            better="higher",
            null=float(per_seed.loc["start"][skill].median()),
            null_is="the start",
            title=f"Right answers of the parent that learned '{skill}'",
        )
        least.append(over.value or 0.0)
    return min(least) >= KNOWN


def _claim_kept(run: "Run", name: str, scores: pd.DataFrame, nulls: dict[str, float]) -> None:
    """What one merge keeps of its worse skill beside merging without a method, and of each skill."""
    about: dict[str, Any] = {"unit": "% of the parent", "better": "higher"}
    over = seed_interval(scores["worse kept"].tolist(), "median")
    title = f"Worse of the two skills that '{name}' keeps"
    run.claim(f"{name}/worse_kept", interval=over, kind="median", rivals=nulls, title=title, **about)
    for skill in SKILLS:
        over = seed_interval(scores[f"{skill} kept"].tolist(), "median")
        title = f"Of the skill '{skill}' that '{name}' keeps"
        run.claim(f"{name}/{skill}_kept", interval=over, kind="median", title=title, **about)


def _draw_kept(table: pd.DataFrame) -> Figure:
    """What every merge keeps of its worse skill, as bars with their intervals over members; nulls are gray."""
    by_name = table.set_index("merge")
    values, lows, highs = (by_name[f"worse kept{end}"].to_dict() for end in ("", " low", " high"))
    gray = [name for name in values if name in NULLS or name == "start" or name.startswith("parent")]
    return bars(values, y="% of the worse skill kept", lows=lows, highs=highs, gray=gray)
