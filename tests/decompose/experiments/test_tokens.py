"""Studies of token models: what is claimed beside what, and a resumed run's bytes."""

import json

import pytest

from digsite.decompose.experiments import tokens as run_tokens
from digsite.decompose.judge import baselines
from digsite.record import create_run, read_results
from digsite.worker.execute import How, execute_run
from digsite.worker.run import Run

CPU = How(device="cpu", quiet=True, checkpoint_every_s=0.0)
SMALL = {
    "seeds": 2,
    "modules": ["model.embed_tokens", "model.layers.*.mlp.*"],
    "text": {"context": 24, "rows": 60},
    "target": {"kind": "llama", "d_model": 16, "d_mlp": 24, "n_layers": 1},
    "training": {"steps": 8, "batch": 4, "warmup": 1},
    "decompose": {"C": 6, "steps": 6, "batch": 2, "compare": "kl", "compile": "never"},
    "eval_batches": 2,
    "metrics": {
        "ce_and_kl": {"subsets": {"feed_forward": ["*.mlp.*"]}},
        "embedding_recon": {},
        "hidden_recon": {},
    },
    "figures": ["token_importance"],
}


def planned(root, **config):
    return create_run(root, {"study": "t", "method": "decompose.lm", "config": {**SMALL, **config}})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = planned(tmp_path_factory.mktemp("runs"))
    assert execute_run(run, CPU) == 0, run.error.read_text()
    return run


def test_claims_stand_beside_singular_parts_and_the_grammar(finished):
    results = read_results(finished.results)
    claim = results["kl_recovered/rounded"]
    assert {rival.name for rival in claim.rivals} == set(baselines.RIVALS)
    assert claim.null == max(rival.value for rival in claim.rivals)  # the strongest, `largest` among them
    assert results["ce/target"].null and results["ce/target"].null < results["ce/target"].value
    assert results["ci_l0"].n == 2 and "model.embed_tokens/stability" in [c.name for c in results.claims]
    assert "recovered" in results.verdict


def test_tables_and_figures_are_there(finished):
    for name in ("scores.csv", "metrics.csv", "memory.csv"):
        assert len((finished.tables / name).read_text().splitlines()) > 2
    metrics = (finished.tables / "metrics.csv").read_text()
    assert "feed_forward/kl/ci" in metrics and "embedding_recon/ci/model.embed_tokens" in metrics
    for name in ("equal_l0", "token_importance"):
        assert (finished.figures / f"{name}.png").exists() and (finished.figures / f"{name}.csv").exists()


def test_the_dashboard_gets_what_each_component_changes(finished):
    from safetensors.torch import load_file

    effects = load_file(finished.artifacts / "effects.safetensors")
    words = json.loads((finished.artifacts / "words.json").read_text())
    views = json.loads(finished.views.read_text())
    assert effects["prompts"].shape == effects["answers"].shape == (2, 24)
    for view in views:
        if view["kind"] == "components":
            name = view["module"]
            assert effects[f"kl/{name}"].shape == effects[f"first/{name}"].shape == (6, 2, 24)
            assert {view[key].partition("#")[2] for key in ("kl", "first", "numbers")} <= set(effects)
            assert {str(token) for token in effects[f"first/{name}"].unique().tolist()} <= set(words)
    assert sum(view["kind"] == "components" for view in views) == 4


def test_a_card_names_the_tokens_of_its_page(finished):
    from digsite.serve.views import find_view, read_view

    pages = json.loads((finished.artifacts / "pages.json").read_text())
    name = next(module for module, of in pages.items() if of)
    cards = read_view(find_view(finished, f"components of {name}"), {})["components"]
    for card in cards:
        page = pages[name].get(str(card["number"]), {"tokens": []})
        assert card["words"] == [row[0] for row in page["tokens"]][:3]
    assert any(card["words"] for card in cards)


def test_one_seed_has_intervals_over_batches(tmp_path):
    run = planned(tmp_path, seeds=1, metrics={}, figures=[])
    assert execute_run(run, CPU) == 0
    claim = read_results(run.results)["ce/target"]
    assert claim.n == 2


def test_an_interrupted_run_ends_in_the_same_bytes(tmp_path, finished, monkeypatch):
    run = planned(tmp_path, log_every=1)
    log = Run.log

    def stop_at_three(self, step, **values):
        log(self, step, **values)
        if step == 3:
            raise KeyError("as if killed")

    monkeypatch.setattr(Run, "log", stop_at_three)
    assert execute_run(run, CPU) == 1
    monkeypatch.setattr(Run, "log", log)
    assert execute_run(run, CPU) == 0
    assert run.results.read_bytes() == finished.results.read_bytes()


def test_headlines_come_in_order():
    keys = [
        "faithfulness",
        "accuracy/target",
        "accuracy/svd",
        "ce_recovered/ci",
        "kl_recovered/ci",
        "ci_l0",
        "ce/ci",
        "kl_recovered/zero",
    ]
    kept = sorted(filter(run_tokens.is_headline, keys), key=run_tokens.rank_key)
    assert kept[:4] == ["ci_l0", "kl_recovered/ci", "kl_recovered/zero", "ce_recovered/ci"]
    assert "ce/ci" not in kept


def test_a_subset_that_matches_nothing_is_left_out_and_the_run_ends(tmp_path):
    """A preset of another model once ended a finished run at its very end."""
    run = planned(tmp_path, metrics={"ce_and_kl": {"subsets": {"x": ["*.attn"]}}})
    assert execute_run(run, CPU) == 0
    assert not run.error.exists()
