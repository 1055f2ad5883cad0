from digsite.read.core.metrics import Score
from digsite.read.experiments import nwa_report


class Claims(dict):
    def claim(self, name, value, **rest):
        self[name] = {"value": value, **rest}


def test_one_zoo_has_its_bootstrap_interval_and_a_few_are_points():
    said = Claims()
    first, second = Score(0.7, 0.6, 0.8, 40), Score(0.9, 0.8, 1.0, 40)
    nwa_report._claim_scores(said, "one", [first])  # pyright: ignore[reportArgumentType]
    nwa_report._claim_scores(said, "two", [first, second])  # pyright: ignore[reportArgumentType]
    assert (said["one"]["low"], said["one"]["high"], said["one"]["n"]) == (0.6, 0.8, 40)
    assert said["two"]["interval"].points == (0.7, 0.9) and said["two"]["interval"].low is None
