import json
import re

import pandas as pd

from digsite.record import read_results


def _claims(run):
    return {c.name: c for c in read_results(run.results).claims}


def test_smoke_claims_and_files(smoke):
    run = smoke("nwa", "save_model=true")
    claims = _claims(run)
    leads = [
        claim
        for name, claim in claims.items()
        if name.endswith(("accuracy/tau", "/accuracy")) and claim.rivals
    ]
    assert len(leads) == 2 and all(
        c.null == max(r.value for r in c.rivals) and c.low <= c.high for c in leads
    )
    assert {"constant", "hyperparameters"} <= {rival.name for rival in leads[0].rivals}
    assert "hyperparameters/test_accuracy/tau" in claims and "nwpa/coverage" in claims
    text = (run.path / "artifacts" / "results.md").read_text()
    assert "Leak check" in text and "perfect reader" in text and "| nwpa |" in text
    shown = re.findall(r"!\[.*\]\((.+)\)", text)
    assert len(shown) >= 6 and all((run.path / "artifacts" / name).is_file() for name in shown)
    assert "validation_loss" in run.journal.read_text()
    figures = {p.stem for p in (run.path / "figures").glob("*.png")}
    assert {"map", "predicted", "labels", "training", "attention", "regression-tau"} <= figures
    networks = pd.read_csv(run.path / "tables" / "networks.csv")
    assert (networks["low"] <= networks["high"]).all() and networks["network"].str.contains("zoo-0#").all()
    assert {"zoo map", "predicted test_accuracy"} <= {v["name"] for v in json.loads(run.views.read_text())}
    stored = sorted((run.path / "artifacts").glob("reader-*.safetensors"))
    again = smoke("nwa", "eval_only=true", f"model_path={stored[0]}")
    kept = _claims(again)["stored/test_accuracy/tau"].value
    assert kept == claims["nwpa/test_accuracy/tau"].value


def test_several_zoos_give_a_mean_and_a_range(smoke):
    claims = _claims(smoke("nwa", "seeds=2", "model_type=statistics", "tasks=[test_accuracy]"))
    assert claims["statistics/test_accuracy/tau"].n == 2


def test_a_zoo_that_exists_is_read(zoo, smoke):
    claims = _claims(smoke("nwa", f"zoo={zoo.folder}", "model_type=spectra", "tasks=[test_accuracy]"))
    assert claims["spectra/test_accuracy/r2"].n == 27


def test_a_task_of_its_own_and_earlier_checkpoints(smoke):
    settings = (
        "model_type=statistics,nwpa",
        "own=[test_accuracy]",
        "nets=2",
        "earlier=[0]",
        "save_model=true",
    )
    run = smoke("nwa", *settings)
    claims = _claims(run)
    assert claims["nwpa/test_accuracy/tau"].n == claims["statistics/test_accuracy/tau"].n == 18
    journal = run.journal.read_text()
    assert "nwpa/test_accuracy/loss" in journal and "nwpa/recipe/loss" in journal
    (stored,) = (run.path / "artifacts").glob("reader-nwpa-*.safetensors")
    again = smoke("nwa", "eval_only=true", f"model_path={stored}")
    kept = _claims(again)["stored/test_accuracy/tau"].value
    assert kept == claims["nwpa/test_accuracy/tau"].value
