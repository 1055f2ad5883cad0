from digsite.read.core.metrics import Score
from digsite.read.experiments import nwa_report


class Claims(dict):
    def claim(self, name, value, **rest):
        self[name] = {"value": value, **rest}


def test_one_zoo_has_its_bootstrap_interval_and_several_their_range():
    said = Claims()
    first, second = Score(0.7, 0.6, 0.8, 40), Score(0.9, 0.8, 1.0, 40)
    nwa_report._claim(said, "one", [first], 0.0)  # pyright: ignore[reportArgumentType]
    nwa_report._claim(said, "two", [first, second], 0.0)  # pyright: ignore[reportArgumentType]
    assert (said["one"]["low"], said["one"]["high"], said["one"]["n"]) == (0.6, 0.8, 40)
    assert (said["two"]["low"], said["two"]["high"], said["two"]["n"]) == (0.7, 0.9, 2)
