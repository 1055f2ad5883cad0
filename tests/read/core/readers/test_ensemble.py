from digsite.read.core import engines
from digsite.read.core.corpus import answerable
from digsite.read.core.readers import ensemble
from digsite.read.core.readers.nwpa import Options


def test_members_share_the_answer(sides):
    tasks = answerable(sides[0].labels, ["test_accuracy"])
    engine = engines.fit(
        "ensemble", sides[0], tasks, 0, Options(epochs=1, width=16, hidden_dim=16), sides[1], engines.Parts()
    )
    assert isinstance(engine, engines.EnsembleEngine)
    found = engine.predict(sides[1].population)["test_accuracy"]
    parts = [p.predict(sides[1].population)["test_accuracy"] for p in engine.parts]
    w = engine.weights["test_accuracy"]
    assert abs(found - (w[0] * parts[0] + w[1] * parts[1])).max() < 1e-9
    assert "permutation" in ensemble.INVARIANT
