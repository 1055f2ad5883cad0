"""Language models: one component at a time, from what the run has stored."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from digsite.base.errors import UsageError
from digsite.serve.views import View, data

SOURCE = "artifacts/d.safetensors#"


@pytest.fixture
def view(planned):
    def make(answers=3, words='{"1": "cat", "2": "<b>", "3": "sat"}'):
        run = planned()
        run.artifacts.mkdir()
        kl = np.zeros((2, 2, answers), np.float32)
        kl[1, 0, 0] = 0.6
        first = np.full((2, 2, answers), 3)
        first[1, 0, 0] = 2
        tensors = {
            "parts/m/V": np.eye(4),
            "parts/m/U": np.eye(4),
            "prompts": np.array([[1, 2, 3], [3, 2, 1]]),
            "answers": np.full((2, answers), 3),
            "numbers": np.array([2, 0]),
            "kl": kl,
            "first": first,
        }
        save_file(
            tensors,
            run.artifacts / "d.safetensors",
            metadata={"decomposition": '{"model": {"kind": "llama"}}'},
        )
        (run.artifacts / "words.json").write_text(words)
        options = {name: SOURCE + name for name in ("prompts", "answers", "numbers", "kl", "first")}
        return View(
            run, "v", "components", f"{SOURCE}parts/m/V", {**options, "words": "artifacts/words.json"}
        )

    return make


def test_cards_say_what_a_component_changes(view):
    found = data(view(), {})
    assert not found["toy"] and found["off"] == []
    by_number = {c["number"]: c for c in found["components"]}
    assert by_number[0]["changed"] == 1 and by_number[0]["kl"] == pytest.approx(0.1)
    assert by_number[2]["changed"] == 0 and "kl" not in by_number[1]
    assert found["prompts"] == [["cat", "<b>", "sat"], ["sat", "<b>", "cat"]]
    assert found["first"] == found["answers"]


def test_one_component_off(view):
    found = data(view(), {"off": "0"})
    assert found["off"] == [0] and found["first"][0] == ["<b>", "sat", "sat"]
    assert found["kl"][0][0] == pytest.approx(0.6) == pytest.approx(found["most"])
    assert data(view(), {"off": "1"})["off"] == []  # nobody looked at this one


def test_one_answer_for_a_whole_prompt(view):
    found = data(view(answers=1), {"off": "0"})
    assert [len(row) for row in found["first"]] == [1, 1]


def test_broken_words_are_one_sentence(view):
    with pytest.raises(UsageError, match="holds no words"):
        data(view(words="{"), {})


def test_effects_that_do_not_fit_are_one_sentence(view):
    broken = view()
    broken.options["kl"] = f"{SOURCE}answers"
    with pytest.raises(UsageError, match="do not fit"):
        data(broken, {})


def test_an_older_run_is_shown_as_before(view):
    old = view()
    del old.options["kl"]
    assert "prompts" not in data(old, {}) and len(data(old, {})["components"]) == 4
