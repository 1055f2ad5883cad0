"""The audit: each defect of the published protocol with its measured effect, beside an honest run."""

from typing import Any

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score

from digsite.base.streams import derive_seed
from digsite.figures import bars, scatter
from digsite.read.config import PublishedConfig
from digsite.read.core.corpus import corpus_of, read_labels
from digsite.read.core.metrics import bootstrap_scores
from digsite.read.core.reader import train_reader
from digsite.read.judge import published as protocol
from digsite.read.judge.published import TARGETS, NoiseZoo
from digsite.record.verdict import cite
from digsite.worker.run import Run
from digsite.zoo import Zoo
from digsite.zoo.config import ZooConfig
from digsite.zoo.make import make_zoo


def study_published(config: PublishedConfig, run: Run) -> None:
    """The audit: six networks' worth of protocol repeated on noise, one defect at a time, and an honest zoo beside it."""
    zoo = NoiseZoo(
        **run.once(
            "noise-zoo",
            lambda: vars(protocol.make_noise_zoo(config.num_models, config.seed, config.noise_epochs)),
        )
    )
    defects = [
        _nothing_to_learn(zoo),
        *_answers_in_question(zoo, config, run),
        _one_answer_per_batch(zoo, config),
        _same_network_twice(zoo, config),
        *_two_test_networks(zoo, config, run),
    ]
    run.table(
        "defects", {key: [f[key] for f in defects] for key in ("name", "sentence", "value", "should_be")}
    )
    _claim_defects(defects, run.once("honest", lambda: _run_honest_zoo(config, run)), run)
    _draw_defects(zoo, defects, run)
    run.headline(
        ["leak/targets_in_input", "two_test_networks/accuracy_spread", "honest/test_accuracy/tau"],
        hero="leak",
    )
    run.verdict(
        f"Of the {cite('published/targets')} published targets {cite('leak/targets_in_input')} are columns of the reader's "
        f"own input, and with two test networks the accuracy of one method varies by a standard deviation of "
        f"{cite('two_test_networks/accuracy_spread', style='.2f')} between splits. An honest zoo of "
        f"{cite('honest/networks')} networks gives tau {cite('honest/test_accuracy/tau', style='.2f')} for test accuracy "
        "from weights."
    )


def _claim_defects(defects: list[dict[str, Any]], honest: dict[str, Any], run: Run) -> None:
    """Each defect beside what it should be, and what an honest zoo gives."""
    for f in defects:
        run.claim(
            f["name"],
            f["value"],
            null=f["should_be"],
            null_is="what it should be",
            note=f["sentence"],
            title=f["name"].replace("_", " ").replace("/", ": "),
        )
    for metric in ("tau", "r2"):
        s = honest[metric]
        run.claim(
            f"honest/test_accuracy/{metric}",
            s["value"],
            low=s["low"],
            high=s["high"],
            n=honest["n"],
            null=0.0,
            kind="correlation",
            better="higher",
            null_is="nothing read",
            note="consensus reader, same size",
            title=f"Test accuracy read from the weights of an honest zoo ({metric})",
        )
    run.claim("honest/networks", honest["made"], kind="count", title="Networks of the honest zoo")
    run.claim(
        "published/targets", len(TARGETS), kind="count", title="Regression targets of the published protocol"
    )


def _describe_defect(name: str, value: float, should_be: float | None, sentence: str) -> dict[str, Any]:
    """One row of the audit."""
    return {"name": name, "value": value, "should_be": should_be, "sentence": sentence}


def _nothing_to_learn(zoo: NoiseZoo) -> dict[str, Any]:
    """Validation accuracy against 1 / classes: how far it leaves chance, in units of its own binomial error."""
    chance = 1 / zoo.n_classes.double()
    error = (chance * (1 - chance) / 200).sqrt()
    z = float(((zoo.targets[:, 0] - chance) / error).square().mean().sqrt())
    return _describe_defect(
        "random_labels/distance_from_chance",
        z,
        1.0,
        "Labels are random, so validation accuracy is chance: its root-mean-square distance from 1/classes in "
        "binomial standard errors would be 1 for pure guessing.",
    )


def _answers_in_question(zoo: NoiseZoo, config: PublishedConfig, run: Run) -> list[dict[str, Any]]:
    """Targets that stand among the inputs, and the score with them and without them."""
    columns = protocol.leak_columns(zoo)
    leaked = sorted({c for column in columns.values() for c in column})
    x, y = zoo.features.double().numpy(), zoo.targets.double().numpy()
    order = np.random.default_rng(run.derive("folds")).permutation(len(x))
    half, rest = order[: len(x) // 2], order[len(x) // 2 :]
    kept = [c for c in range(protocol.WIDTH) if c not in leaked]
    varied = [t for t in range(len(TARGETS)) if y[:, t].std() > 0 and columns[TARGETS[t]]]
    with_answers = float(np.mean([_ridge_r2(x[:, columns[TARGETS[t]]], y[:, t], half, rest) for t in varied]))
    without = float(np.mean([_ridge_r2(x[:, kept], y[:, t], half, rest) for t in varied]))
    return [
        _describe_defect(
            "leak/targets_in_input",
            sum(bool(c) for c in columns.values()),
            0.0,
            "Regression targets that are, number for number, columns of the input vector.",
        ),
        _describe_defect(
            "leak/r2_with_answers",
            with_answers,
            None,
            "Mean R2 of a ridge on each target's own column of the input, half of the networks held out.",
        ),
        _describe_defect(
            "leak/r2_without_answers",
            without,
            None,
            "The same on the published vector after the leaked columns are taken out.",
        ),
    ]


def _ridge_r2(x: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray) -> float:
    """R2 on `test` of a ridge that was fitted on `train`, at least -1: a leak is judged by what a linear map makes of it."""
    scale = x[train].std(0) + 1e-9
    model = RidgeCV(np.logspace(-4, 3, 8)).fit(x[train] / scale, y[train])
    return float(max(-1.0, r2_score(y[test], model.predict(x[test] / scale))))


@torch.no_grad()
def _one_answer_per_batch(zoo: NoiseZoo, config: PublishedConfig) -> dict[str, Any]:
    """How many different answers eight networks of one batch get from the published graph: one."""
    with torch.enable_grad():
        reader = protocol.train_published(
            zoo, torch.arange(len(zoo.family)), True, config.epochs, config.seed
        )
    _, values = reader(zoo.features[:8])
    return _describe_defect(
        "batch_graph/distinct_answers_of_8",
        float(len({tuple(v) for v in values.tolist()})),
        8.0,
        "The graph joins the models of a batch and one vector stands for all: different answers that 8 networks get.",
    )


def _same_network_twice(zoo: NoiseZoo, config: PublishedConfig) -> dict[str, Any]:
    """ "statistics" and "PCA" are the same class of network: the gap between two seeds is the gap between them."""
    rows = torch.arange(0, len(zoo.family), 2)
    held = torch.arange(1, len(zoo.family), 2)
    gaps = []
    for i in range(4):
        a, b = (
            protocol.train_published(zoo, rows, False, config.epochs, derive_seed(config.seed, "twins", i, j))
            for j in (0, 1)
        )
        with torch.no_grad():
            hits = [
                float((r(zoo.features[held])[0].argmax(1) == zoo.family[held]).float().mean()) for r in (a, b)
            ]
        gaps.append(abs(hits[0] - hits[1]))
    return _describe_defect(
        "fake_pca/gap_between_twins",
        float(np.mean(gaps)),
        0.0,
        "No PCA is applied: two seeds of one network differ by this much accuracy, as the two baselines did.",
    )


def _two_test_networks(zoo: NoiseZoo, config: PublishedConfig, run: Run) -> list[dict[str, Any]]:
    """Splits of the reported size, again and again: what one such number can be worth."""
    hits, fits = [], []
    for i in range(config.repeats):
        g = run.generator("tiny-split", i)
        rows = torch.randperm(len(zoo.family), generator=g)[: config.published_models]
        test, train = rows[:2], rows[3:]
        reader = protocol.train_published(
            zoo, train, False, config.epochs, derive_seed(config.seed, "tiny", i)
        )
        with torch.no_grad():
            family, values = reader(zoo.features[test])
        hits.append(float((family.argmax(1) == zoo.family[test]).float().mean()))
        fits.append(_mean_r2(zoo.targets[test].double().numpy(), values.double().numpy()))
    return [
        _describe_defect(
            "two_test_networks/accuracy_spread",
            float(np.std(hits)),
            0.0,
            "Standard deviation over splits of the accuracy on 2 test networks (it can be 0, 0.5 or 1).",
        ),
        _describe_defect(
            "two_test_networks/median_r2",
            float(np.median(fits)),
            0.0,
            "Median over splits of the R2 averaged over near-constant targets: the published scale of -1e6.",
        ),
    ]


def _mean_r2(y: np.ndarray, said: np.ndarray) -> float:
    """As published: averaged over targets, some of which hardly vary between two networks."""
    spread = ((y - y.mean(0)) ** 2).sum(0)
    return float(np.mean(1 - ((y - said) ** 2).sum(0) / np.maximum(spread, 1e-12)))


def _run_honest_zoo(config: PublishedConfig, run: Run) -> dict[str, Any]:
    """Networks that can generalize, their own seeds, targets outside of the input, a third held out."""
    steps = config.honest_steps
    recipe = ZooConfig.model_validate(
        {"members": config.honest_models, "seed": config.seed, "steps": steps, "checkpoints": [0, steps]}
    )
    folder = run.dir / "artifacts" / "honest-zoo"
    for done in make_zoo(recipe, folder, "honest", str(run.device)):
        run.let_signals_in(done)
    corpus = corpus_of(Zoo.open(folder))
    cut = 2 * len(corpus) // 3
    reader = train_reader(corpus.take(np.arange(cut)), "consensus", ["test_accuracy"], seed=config.seed)
    test = corpus.take(np.arange(cut, len(corpus)))
    rng = np.random.default_rng(derive_seed(config.seed, "honest/bootstrap"))
    y = read_labels(test, reader.tasks[0])
    scores = bootstrap_scores(reader.tasks[0], y, reader.answers(test)["test_accuracy"], rng)
    return {"tau": vars(scores["tau"]), "r2": vars(scores["r2"]), "n": len(test), "made": len(corpus)}


def _draw_defects(zoo: NoiseZoo, defects: list[dict[str, Any]], run: Run) -> None:
    """Accuracy against chance: networks of the published zoo learned nothing."""
    chance = (1 / zoo.n_classes.double()).numpy()
    accuracy = zoo.targets[:, 0].double().numpy()
    figure = scatter(
        {"networks": (chance, accuracy)}, x="1 / number of classes", y="validation accuracy", diagonal=True
    )
    run.figure(
        "chance",
        figure,
        {"chance": chance, "accuracy": accuracy},
        caption="Trained on noise with random labels, every network validates at chance.",
    )
    leaks = {f["name"].split("/")[1]: f["value"] for f in defects if "r2_with" in f["name"]}
    run.figure(
        "leak", bars(leaks, y="mean R2 of a ridge"), caption="The score with and without the leaked columns."
    )
