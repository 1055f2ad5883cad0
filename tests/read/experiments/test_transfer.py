import numpy as np

from digsite.read.experiments.transfer import _split_networks
from digsite.record import read_results

NAMES = np.repeat(["mlp/a", "mlp/b", "gru/a"], 6)


def test_smoke_names_every_way_of_being_new(smoke):
    results = read_results(smoke("transfer").results)
    assert results is not None
    assert {"in_zoo/tau", "new_recipe/coverage", "new_family/tau"} <= {c.name for c in results.claims}


def test_what_is_left_out_is_never_learned_from():
    for way, folds in (("in_zoo", 3), ("new_recipe", 3), ("new_family", 2)):
        splits = _split_networks(way, NAMES, 0)
        assert len(splits) == folds and all(not (train & test).any() for train, test in splits)
    families = [{n.split("/")[0] for n in NAMES[test]} for _, test in _split_networks("new_family", NAMES, 0)]
    assert families == [{"gru"}, {"mlp"}]
