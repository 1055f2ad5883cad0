import numpy as np

from digsite.read.core import feature_engine
from digsite.read.core.corpus import answerable
from digsite.read.core.reader import train_reader


def test_function_tasks_of_several_kinds_use_only_blind_features(sides):
    tasks = answerable(sides[0].labels, ["test_accuracy", "optimizer"])
    engine = feature_engine.fit(sides[0], ["statistics", "neurons"], tasks, 0, max_iter=5)
    assert engine.kinds == {"function": ("neurons",), "recipe": ("statistics", "neurons")}


def test_labels_decide_what_counts_as_quality(sides):
    corpus = sides[0]
    quality = feature_engine.quality(corpus)
    best = int(np.argmax(corpus.labels["test_accuracy"]))
    assert quality[best] == quality.max() > 0 and (quality == 0).any()


def test_shuffled_labels_teach_nothing(sides):
    """A reader of labels that do not belong to their networks must rank unseen ones by chance."""
    train, test = sides
    rng = np.random.default_rng(0)
    taus = []
    for _ in range(3):
        labels = train.labels.assign(test_accuracy=rng.permutation(train.labels["test_accuracy"].to_numpy()))
        reader = train_reader(type(train)(train.population, labels), "neurons", ["test_accuracy"])
        from digsite.read.core.corpus import target
        from digsite.read.core.metrics import score

        taus.append(
            score(reader.tasks[0], target(test, reader.tasks[0]), reader.answers(test)["test_accuracy"])[
                "tau"
            ]
        )
    assert abs(np.mean(taus)) < 0.25
