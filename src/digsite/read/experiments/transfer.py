"""What transfers: readers of any shape on zoos of four families, judged on recipes and on families that they never saw."""

from typing import Any

import numpy as np
import pandas as pd

from digsite.base.streams import derive_seed
from digsite.figures import bars
from digsite.read.config import TransferConfig
from digsite.read.core.corpus import Corpus, corpus_of
from digsite.read.core.feature_engine import tabulate_kinds
from digsite.read.core.metrics import score_answers
from digsite.read.core.population import join_populations
from digsite.read.core.reader import fit_over_recipes, train_over_recipes
from digsite.read.core.tasks import TASKS
from digsite.read.core.trust import OUTSIDE, fit_membership
from digsite.record.verdict import cite
from digsite.worker.run import Run
from digsite.zoo import Zoo
from digsite.zoo.config import ZooConfig
from digsite.zoo.make import make_zoo

_OPTIMIZERS = {"adaptive": ["adam", "rmsprop"], "plain": ["sgd", "momentum"]}
_READERS = ("strokes", "shape_free", "statistics")  # the first is claimed, the others are its rivals
_WAYS = {
    "in_zoo": "networks of recipes that were learned from",
    "new_recipe": "recipes never seen, their family seen",
    "new_family": "families never seen",
}


def study_transfer(config: TransferConfig, run: Run) -> None:
    """Make a small zoo of each recipe, then leave out networks, recipes and families in turn."""
    corpora = _make_zoos(config, run)
    names = np.concatenate([[name] * len(c) for name, c in corpora.items()])
    y = np.concatenate([c.labels["test_accuracy"].to_numpy(dtype=float) for c in corpora.values()])
    people = join_populations([c.population for c in corpora.values()])
    tables = {kind: tabulate_kinds(people, [kind], "recipe", {}).values for kind in _READERS}
    rows: list[dict[str, Any]] = []
    run.stage("ways", len(_WAYS))
    for number, way in enumerate(_WAYS):
        for train, test in _split_networks(way, names, config.seed):
            rows += _judge_split(way, tables, y, names, train, test, config.seed)
        run.let_signals_in(number + 1)
    table = pd.DataFrame(rows)
    run.table("recipes", table)
    _save_readers(corpora, table, config.seed, run)
    _claim_transfer(table, len(y), len(corpora), run)


def _make_zoos(config: TransferConfig, run: Run) -> dict[str, Corpus]:
    """One zoo for each recipe: a family, an image set, and a kind of optimizer; everything else is drawn as usual."""
    recipes = [(f, d, o) for f in config.families for d in config.datasets for o in _OPTIMIZERS]
    run.stage("zoos", len(recipes))
    zoos = {}
    for number, (family, dataset, optimizer) in enumerate(recipes):
        name = f"{family}/{dataset}/{optimizer}"
        recipe = ZooConfig.model_validate(
            {
                "family": family,
                "members": config.members,
                "architectures": config.architectures,
                "datasets": [dataset],
                "steps": config.steps,
                "checkpoints": [0, config.steps],
                "train_size": config.train_size,
                "test_size": config.test_size,
                "seed": derive_seed(config.seed, name) % 2**31,
                "factors": {"optimizers": _OPTIMIZERS[optimizer], "poison_share": 0.0},
            }
        )
        folder = run.dir / "artifacts" / "zoos" / name.replace("/", "-")
        for _ in make_zoo(recipe, folder, name.replace("/", "-")):
            pass
        zoos[name] = corpus_of(Zoo.open(folder))
        run.let_signals_in(number + 1)
    return zoos


def _split_networks(way: str, names: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Booleans of networks to learn from and to test on: each third of them, each recipe, or each family left out."""
    if way == "in_zoo":
        third = np.random.default_rng(derive_seed(seed, "thirds")).permutation(np.arange(len(names)) % 3)
        return [(third != i, third == i) for i in range(3)]
    level = names if way == "new_recipe" else np.array([n.split("/")[0] for n in names])
    return [(level != out, level == out) for out in sorted(set(level))]


def _judge_split(
    way: str,
    tables: dict[str, np.ndarray],
    y: np.ndarray,
    names: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    seed: int,
) -> list[dict[str, Any]]:
    """One row for each reader and each recipe among the test networks: a recipe is ranked within itself."""
    rows = []
    for reader, x in tables.items():
        forest, margin = fit_over_recipes(x[train], y[train], names[train], seed)
        seen = (
            tables["shape_free"] if reader == "statistics" else x
        )  # strangers are told by numbers that all have
        inside = fit_membership(seen[train], np.random.default_rng(derive_seed(seed, "membership")))
        value = forest.raw(x[test])[:, 0].clip(0, 1)
        flagged = inside.p_values(seen[test]) < OUTSIDE
        covered = np.abs(value - y[test]) <= margin
        for recipe in sorted(set(names[test])):
            at = names[test] == recipe
            scores = score_answers(TASKS["test_accuracy"], y[test][at], value[at])
            rows.append(
                {
                    "way": way,
                    "reader": reader,
                    "recipe": recipe,
                    "family": recipe.split("/")[0],
                    "tau": scores["tau"],
                    "r2": scores["r2"],
                    "coverage": float(covered[at].mean()),
                    "covered_or_flagged": float((covered | flagged)[at].mean()),
                    "flagged": float(flagged[at].mean()),
                    "half_width": margin,
                    "n": int(at.sum()),
                }
            )
    return rows


def _save_readers(corpora: dict[str, Corpus], table: Any, seed: int, run: Run) -> None:
    """Both readers of any shape, learned from all recipes; their cards say how well they rank within new ones."""
    for kind in ("strokes", "shape_free"):
        reader = train_over_recipes(corpora, kind, seed=seed)
        scores = table[(table["way"] == "new_recipe") & (table["reader"] == kind)]
        reader.card["scores"] = {"test_accuracy": {"tau": round(float(scores["tau"].mean()), 4)}}
        reader.save(run.dir / "artifacts" / f"{kind}.safetensors")


def _claim_transfer(table: Any, networks: int, recipes: int, run: Run) -> None:
    """Tau and coverage for each way of being new, mean over recipes with a bootstrap over them; and family by family."""
    rng = run.rng("recipes")
    run.claim("networks", networks, kind="count", title="Networks of all zoos")
    run.claim("recipes", recipes, kind="count", title="Recipes: family, image set, kind of optimizer")
    for way, words in _WAYS.items():
        own, weights, plain = (table[(table["way"] == way) & (table["reader"] == r)] for r in _READERS)
        low, high = _bootstrap_mean(own["tau"].to_numpy(), rng)
        run.claim(
            f"{way}/tau",
            float(own["tau"].mean()),
            low=low,
            high=high,
            n=len(own),
            kind="correlation",
            better="higher",
            rivals={
                "statistics": float(plain["tau"].mean()),
                "numbers of weights": float(weights["tau"].mean()),
                "a constant": 0.0,
            },
            note="mean over recipes, ranked within each; the network is run on drawn strokes",
            title=f"Ranking by test accuracy (tau), {words}",
        )
        low, high = _bootstrap_mean(own["coverage"].to_numpy(), rng)
        run.claim(
            f"{way}/coverage",
            float(own["coverage"].mean()),
            low=low,
            high=high,
            n=len(own),
            kind="share",
            null=0.9,
            null_is="as stated",
            title=f"90 % intervals that hold the truth, {words}",
        )
        for column in ("half_width", "flagged", "covered_or_flagged"):
            value = float(own[column].mean())
            if np.isfinite(value):  # below ten recipes no interval over recipes can promise 90 %
                run.claim(f"{way}/{column}", value, title=f"{column.replace('_', ' ')}, {words}")
        _claim_lead(way, words, own["tau"].to_numpy() - plain["tau"].to_numpy(), rng, run)
        _claim_families(way, own, plain, run)
    _answer_transfer(table, run)


def _claim_lead(way: str, words: str, ahead: np.ndarray, rng: np.random.Generator, run: Run) -> None:
    """How far tau lies above that of plain statistics, recipe by recipe: `ahead` (recipes,)."""
    low, high = _bootstrap_mean(ahead, rng)
    run.claim(
        f"{way}/ahead",
        float(ahead.mean()),
        low=low,
        high=high,
        n=len(ahead),
        null=0.0,
        null_is="no better than plain statistics",
        kind="difference",
        better="higher",
        title=f"Tau above that of plain statistics, recipe by recipe, {words}",
    )


def _claim_families(way: str, own: Any, plain: Any, run: Run) -> None:
    """Tau family by family, of the reader's rows `own` beside those of plain statistics."""
    for family, rows in own.groupby("family"):
        rival = float(plain[plain["family"] == family]["tau"].mean())
        run.claim(
            f"{way}/{family}/tau",
            float(rows["tau"].mean()),
            n=len(rows),
            rivals={"statistics": rival},
            kind="correlation",
            better="higher",
            title=f"The same, {family} (tau)",
        )


def _answer_transfer(table: Any, run: Run) -> None:
    """The figure, the headline and the sentence, once everything is claimed."""
    labels = dict(zip(_WAYS, ("recipe seen", "recipe new", "family new")))
    taus = {(reader, way): rows["tau"].to_numpy() for (reader, way), rows in table.groupby(["reader", "way"])}
    spans = {way: _bootstrap_mean(taus["strokes", way], run.rng(f"figure/{way}")) for way in _WAYS}
    run.figure(
        "transfer",
        bars(
            {labels[way]: float(taus["strokes", way].mean()) for way in _WAYS},
            y="tau of test accuracy",
            nulls={labels[way]: float(taus["statistics", way].mean()) for way in _WAYS},
            null_label="plain statistics",
            lows={labels[way]: spans[way][0] for way in _WAYS},
            highs={labels[way]: spans[way][1] for way in _WAYS},
        ),
        table,
        caption="How well a reader that runs networks on drawn strokes ranks accuracy within a recipe, with 95 % intervals over recipes; "
        "gray: plain statistics of the weights.",
    )
    run.headline(["new_recipe/tau", "new_recipe/coverage", "new_family/tau"], hero="transfer")
    run.verdict(
        f"On {cite('networks')} networks of {cite('recipes')} recipes, a reader of any shape that runs them on drawn strokes ranks accuracy within a recipe with tau "
        f"{cite('in_zoo/tau', style='.2f')} where the recipe was seen, {cite('new_recipe/tau', style='.2f')} where it was not (plain statistics "
        f"{cite('new_recipe/tau', 'statistics', '.2f')}), and {cite('new_family/tau', style='.2f')} on families never seen; its 90 % intervals over "
        f"recipes hold the truth in {cite('new_recipe/coverage')} of new recipes and {cite('new_family/coverage')} of new families.",
        on=["new_recipe/*", "new_family/*"],
    )


def _bootstrap_mean(values: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """95 % interval of the mean with whole recipes drawn anew: networks of one recipe are not independent."""
    drawn = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(400)]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(low), float(high)
