"""The toy models in NumPy answer as the modules of the lab do."""

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from digsite.base.errors import UsageError
from digsite.models import build, parse
from digsite.serve import toys
from digsite.serve.views import View, read_view

CONFIGS = [
    {"kind": "tms", "n_features": 5, "n_hidden": 2},
    {"kind": "tms", "n_features": 6, "n_hidden": 3, "n_hidden_layers": 2, "tied": False, "hidden": "random"},
    {"kind": "resid_mlp", "n_features": 7, "d_resid": 12, "d_mlp": 5, "n_layers": 2},
    {
        "kind": "resid_mlp",
        "n_features": 7,
        "d_resid": 12,
        "d_mlp": 5,
        "n_layers": 1,
        "activation": "gelu",
        "bias": True,
    },
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c['kind']}-{len(c)}")
def test_the_same_outputs(config):
    model = build(parse(config)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    x = torch.randn(20, config["n_features"], dtype=torch.float64)
    settings = model.config.model_dump(mode="json")
    assert toys.can_run(config["kind"], settings)
    found = toys.run_forward(config["kind"], settings, weights, x.numpy())
    assert np.allclose(found, model(x).detach().numpy(), atol=1e-5)


def test_other_models_are_left_to_the_lab():
    assert not toys.can_run("llama", {})
    assert not toys.can_run("resid_mlp", {"activation": "swish"})


# Language models: one component at a time, from what the run has stored.

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
    found = read_view(view(), {})
    assert not found["toy"] and found["off"] == []
    by_number = {c["number"]: c for c in found["components"]}
    assert by_number[0]["changed"] == 1 and by_number[0]["kl"] == pytest.approx(0.1)
    assert by_number[2]["changed"] == 0 and "kl" not in by_number[1]
    assert found["prompts"] == [["cat", "<b>", "sat"], ["sat", "<b>", "cat"]]
    assert found["first"] == found["answers"]


def test_one_component_off(view):
    found = read_view(view(), {"off": "0"})
    assert found["off"] == [0] and found["first"][0] == ["<b>", "sat", "sat"]
    assert found["kl"][0][0] == pytest.approx(0.6) == pytest.approx(found["most"])
    assert found["known"] and not read_view(view(), {"off": "1"})["known"]  # nobody looked at this one


def test_several_components_off_are_those_that_the_run_tried_together(view):
    made = view()
    path = made.run.artifacts / "together.safetensors"
    kl = np.full((1, 2, 3), 0.9, np.float32)
    save_file(
        {"sets": np.array([[2, 0, -1]]), "kl_of_sets": kl, "first_of_sets": np.full((1, 2, 3), 1)}, path
    )
    made.options.update(
        {k: f"artifacts/together.safetensors#{k}" for k in ("sets", "kl_of_sets", "first_of_sets")}
    )
    both = read_view(made, {"off": "0,2"})
    assert (
        both["known"]
        and both["off"] == [0, 2]
        and both["together"] == [2, 0]
        and both["first"][0] == ["cat"] * 3
    )
    assert both["most"] == pytest.approx(0.9)
    three = read_view(made, {"off": "0,1,2"})
    assert not three["known"] and three["first"] == three["answers"]


def test_a_page_is_given_when_it_is_asked_for(view):
    made = view()
    path = made.run.artifacts / "pages.json"
    path.write_text('{"m": {"2": {"share": 0.1}}}')
    made.options.update(module="m", pages="artifacts/pages.json")
    assert read_view(made, {})["paged"] == [2] and "page" not in read_view(made, {"page": "1"})
    assert read_view(made, {"page": "2"})["page"] == {"share": 0.1}
    path.write_text('{"other": {}}')
    with pytest.raises(UsageError, match="holds no pages of 'm'"):
        read_view(made, {})


def test_one_answer_for_a_whole_prompt(view):
    found = read_view(view(answers=1), {"off": "0"})
    assert [len(row) for row in found["first"]] == [1, 1]


def test_broken_words_are_one_sentence(view):
    with pytest.raises(UsageError, match="holds no words"):
        read_view(view(words="{"), {})


def test_effects_that_do_not_fit_are_one_sentence(view):
    broken = view()
    broken.options["kl"] = f"{SOURCE}answers"
    with pytest.raises(UsageError, match="do not fit"):
        read_view(broken, {})


def test_an_older_run_is_shown_as_before(view):
    old = view()
    del old.options["kl"]
    assert "prompts" not in read_view(old, {}) and len(read_view(old, {})["components"]) == 4
