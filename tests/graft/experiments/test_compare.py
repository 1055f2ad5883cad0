from digsite.graft.config import CompareConfig
from digsite.graft.experiments import compare


class Told:
    """What choosing needs of a run: somewhere to say and to write."""

    def say(self, text):
        pass

    def table(self, name, columns):
        pass


def test_settings_chosen_on_the_first_pair_are_taken_for_the_others(monkeypatch):
    """Validating every grid on every pair took longer than all the rest."""
    asked = []

    def work(run, config, job, jobs, *, stage):
        asked.append((config.select_pairs, [pair for pair, _ in jobs], stage))
        for pair, seed in jobs:
            name = "_from_".join(dict.fromkeys(pair))
            lines = [
                {
                    "grid": "universal",
                    "text": f"universal width={w}",
                    "transfer": w * (1 if pair[0] == "simple" else -1),
                    "preservation": 90.0,
                }
                for w in (8, 16)
            ]
            yield name, seed, lines

    monkeypatch.setattr(compare, "work_ahead", work)
    given = {
        "pairs": [("simple", "simple"), ("wide", "deep")],
        "grids": [{"method": "universal", "options": ["width=8"]}],
    }
    own = compare.choose_settings(CompareConfig.model_validate(given), Told())
    assert own == {
        "simple": {"universal": "universal width=16"},
        "wide_from_deep": {"universal": "universal width=8"},
    }
    first = compare.choose_settings(
        CompareConfig.model_validate(given | {"select_pairs": 1}), Told(), "mnist_4"
    )
    assert first == {name: {"universal": "universal width=16"} for name in own}
    assert asked[1] == (1, [("simple", "simple")], "mnist_4 validation")
