"""What the smokes of the studies do not say by themselves: names of claims, files, masks from a file, repeatability."""

import json
import shutil

import numpy as np
import pytest
from safetensors import safe_open

from digsite.base.errors import UsageError
from digsite.prune.config import CONFIGS
from digsite.prune.experiments import masks, quality
from digsite.prune.subjects.maskstore import read_masks, write_masks
from digsite.record import read_results


def claims(run):
    return {claim.name: claim for claim in read_results(run.results).claims}


def test_mask_clusters_claims_its_ratios_beside_nulls_and_repeats_itself(smoke, tmp_path):
    run = smoke("mask-clusters", f"output_dir={tmp_path / 'out'}")
    found = claims(run)
    for k in (4, 8):
        claim = found[f"separation_ratio/k={k}"]
        assert (
            claim.null is not None and claim.n == 2 and len(claim.points) == 2
        )  # two calibration sets are points
        assert all(name in claim.note for name in ("coin_flips", "margins", "reprune")) and claim.p <= 1
        excess = found[f"separation_excess/k={k}"]
        assert (
            excess.value == pytest.approx(claim.value - claim.null)
            and excess.low <= excess.value <= excess.high
        )
    summary = json.loads((run.path / "artifacts" / "metrics_summary.json").read_text())
    assert set(summary) == {"seed_0", "summary"} and set(summary["seed_0"]["k_4"]) == {
        "mean_within",
        "mean_between",
        "separation_ratio",
        "cluster_sizes",
        "inertia",
    }
    for kind in ("bootstrap", "calibration"):
        stable = found[f"ari/{kind}/k=4"]
        assert -1 <= stable.value <= 1 and stable.null_low <= stable.null <= stable.null_high
    labels = safe_open(run.path / "artifacts" / "mask.safetensors", "np")
    assert set(labels.get_tensor("column_labels").tolist()) == set(range(8))
    view = next(one for one in json.loads((run.path / "views.json").read_text()) if one["name"] == "mask")
    assert view["row_labels"] == "#row_labels" and view["column_labels"] == "#column_labels"
    pictures = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"metrics_summary.json", "seed0_k4.png", "separation.png"} <= pictures
    assert read_masks(run.path / "artifacts" / "mask.safetensors").provenance["settings"]["layer"] == 1
    again = smoke("mask-clusters", "pictures=false")
    assert claims(again) == found


def test_a_mask_from_a_file_needs_no_model(smoke, tmp_path):
    keep = np.random.default_rng(0).random((40, 30)) < 0.5
    write_masks(tmp_path / "m.safetensors", {"layers.1.mlp.down_proj": keep}, {})
    run = smoke("mask-clusters", f"masks={tmp_path / 'm.safetensors'}", "pictures=false")
    found = claims(run)
    assert "reprune" not in found["separation_ratio/k=4"].note and found["separation_ratio/k=4"].n == 1
    assert "no structure beyond densities" in read_results(run.results).verdict


def test_masks_of_another_model_are_refused(folders, tmp_path):
    """By a study, and by the command line that would apply them."""
    keep = np.random.default_rng(0).random((40, 30)) < 0.5
    write_masks(tmp_path / "m.safetensors", {"model.layers.1.mlp.down_proj": keep}, {})
    config = CONFIGS["clusters"].model_validate(
        {"masks": str(tmp_path / "m.safetensors"), "model": str(folders / "llama")}
    )
    with pytest.raises(UsageError, match=r"another model: 'model.layers.1.mlp.down_proj' is \(40, 30\)"):
        masks.read_one(config)


def test_the_command_line_refuses_masks_of_another_model(folders, tmp_path, cli):
    write_masks(tmp_path / "m.safetensors", {"model.layers.0.mlp.down_proj": np.ones((4, 4), bool)}, {})
    words = ("prune", folders / "llama", "--masks", tmp_path / "m.safetensors", "--out", tmp_path / "out")
    code, _, said = cli(*words)
    assert code == 2 and "These masks are of another model" in said
    code, _, said = cli(*words, "--sparsity", "0.5")
    assert code == 2 and "cannot be given with it" in said


def test_the_single_study_prints_every_distance(smoke, capfd):
    run = smoke("mask-clusters-single", "feature=3", "n_features=10")
    log = (run.path / "run.log").read_text()
    assert "feature 3: 10 nearest" in log and "cluster sizes" in log
    rows = (run.path / "tables" / "distances.csv").read_text().splitlines()
    assert len(rows) == 11 and rows[0] == "feature,hamming,share,cluster"


def test_the_repeated_study_writes_the_originals_fields(smoke):
    run = smoke("mask-clusters-repeat")
    summary = json.loads((run.path / "artifacts" / "repeat_summary.json").read_text())
    assert {
        "matrix_name",
        "matrix_shape",
        "n_executions",
        "n_features",
        "n_clusters",
        "aggregated_metrics",
        "individual_metrics",
        "seed",
    } == set(summary)
    one = summary["individual_metrics"][0]
    assert {
        "main_feature_idx",
        "hamming_min",
        "hamming_max",
        "hamming_mean",
        "hamming_std",
        "mean_within_cluster",
        "mean_between_cluster",
        "separation_ratio",
        "total_inertia",
        "cluster_sizes",
        "cluster_balance_std",
    } <= set(one)
    values = [row["separation_ratio"] for row in summary["individual_metrics"]]
    assert summary["aggregated_metrics"]["separation_ratio_std"] == pytest.approx(np.std(values))


def test_the_audit_knows_structureless_masks(smoke):
    found = claims(smoke("masks-as-published"))
    worst = max(claim.value for name, claim in found.items() if "noise" in name and "as_published" in name)
    assert worst > 1.3, "masks without structure look clustered in the published numbers"
    assert found["printed/is_artefact"].value > found["printed/is_artefact"].null


def test_quality_tells_the_context_and_the_order(smoke):
    run = smoke("prune-quality")
    found = claims(run)
    assert (
        "at context 32" in found["dense"].note and found["50%/wanda"].n == 2 and found["50%/magnitude"].n == 1
    )
    said = read_results(run.results).verdict
    assert (
        "'sparsegpt' 6.301, which cannot be told apart from 'wanda' and 'magnitude'" in said
    )  # two draws rank nothing
    assert "SparseGPT < Wanda < magnitude cannot be told at '50%'" in said


def test_a_killed_study_ends_in_the_same_bytes(smoke):
    """Resume after everything but the last lines is done: read back, not computed again."""
    first = smoke("mask-comparison")
    before = first.results.read_bytes()
    first.results.unlink()
    status = json.loads((first.path / "status.json").read_text())
    (first.path / "status.json").write_text(json.dumps({**status, "state": "interrupted"}))
    from digsite.worker.execute import How, execute_run

    assert execute_run(first, How(device="cpu", quiet=True)) == 0
    assert first.results.read_bytes() == before
    shutil.rmtree(first.path)


def test_an_allocation_is_left_out_where_a_pattern_fixes_one_share(smoke):
    """And where nothing else is asked for, one sentence says so."""
    asked = ('methods=["wanda", "wanda+owl", "wanda+evolution"]', 'levels=["2:4", "50%"]', "draws=1")
    run = smoke("prune-repairs", *asked)
    names = {name for name in claims(run) if "/" in name}
    assert {"2:4/wanda", "50%/wanda", "50%/wanda+owl", "50%/wanda+evolution"} <= names
    assert not any(name.startswith("2:4/wanda+") for name in names)
    config = CONFIGS["quality"].model_validate({"methods": ["wanda+owl"], "levels": ["2:4"]})
    heard = type("Heard", (), {"say": print})()
    with pytest.raises(UsageError, match="Nothing is left to prune"):
        quality._list_cells(["2:4"], config, heard)
