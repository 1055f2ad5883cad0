from digsite.read.core import engines
from digsite.read.core.corpus import find_tasks
from digsite.read.core.readers import ensemble
from digsite.read.core.readers.nwpa import GraphOptions


def test_members_share_the_answer(sides):
    tasks = find_tasks(sides[0].labels, ["test_accuracy"])
    engine = engines.fit_engine(
        "ensemble",
        sides[0],
        tasks,
        0,
        GraphOptions(epochs=1, width=16, hidden_dim=16),
        sides[1],
        engines.SharedParts(),
    )
    assert isinstance(engine, engines.EnsembleEngine)
    found = engine.predict(sides[1].population)["test_accuracy"]
    parts = [p.predict(sides[1].population)["test_accuracy"] for p in engine.parts]
    w = engine.weights["test_accuracy"]
    assert abs(found - (w[0] * parts[0] + w[1] * parts[1])).max() < 1e-9
    assert "permutation" in ensemble.INVARIANT
