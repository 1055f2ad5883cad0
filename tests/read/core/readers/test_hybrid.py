from digsite.read.core import engines
from digsite.read.core.corpus import find_tasks
from digsite.read.core.readers import hybrid
from digsite.read.core.readers.nwpa import GraphOptions


def test_shares_its_parts_with_the_ensemble_and_says_that_it_runs_the_network(sides):
    tasks = find_tasks(sides[0].labels, ["test_accuracy"])
    parts, options = engines.SharedParts(), GraphOptions(epochs=1, width=16, hidden_dim=16)
    both = [
        engines.fit_engine(k, sides[0], tasks, 0, options, sides[1], parts) for k in ("ensemble", "hybrid")
    ]
    ensemble, found = both
    assert isinstance(ensemble, engines.EnsembleEngine) and isinstance(found, engines.EnsembleEngine)
    assert all(a is b for a, b in zip(ensemble.parts, found.parts))
    assert found.kinds[-1] == "probe" and not engines.reads_weights_only(found)
    assert hybrid.RUNS_NETWORK
