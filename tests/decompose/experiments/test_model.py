"""A decomposition of a user's own model stands beside directions that know nothing of it."""

import torch
from torch import nn

from digsite.decompose import Decomposition, decompose
from digsite.decompose.experiments.model import BESIDE, score_output
from digsite.decompose.subjects import targets
from digsite.record import create_run, read_results
from digsite.worker.execute import How, execute_run

SETTINGS = {"C": 6, "lr": 1e-2, "compile": "never", "gate": {"kind": "mlp", "hidden": [8]}}


def untrained() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4)).eval()


def inputs(generator: torch.Generator) -> torch.Tensor:
    return torch.rand(256, 8, generator=generator)


def test_an_untrained_network_is_judged_beside_directions_that_know_nothing():
    found = decompose(untrained(), ["0", "2"], data=inputs, steps=1, **SETTINGS)
    row = score_output(found, inputs(torch.Generator().manual_seed(0)))
    assert {f"recon_rival/{name}" for name in BESIDE} <= set(row)
    assert row["recon_rival/svd"] < row["recon_rounded"]


def test_known_parts_are_as_good_as_the_network():
    found = decompose(
        targets.build_pairs(),
        ["0"],
        data=targets.draw_pairs,
        steps=1,
        recipe="spd",
        **{
            **SETTINGS,
            "gate": {"kind": "active"},
            "C": 4,
            "delta": False,
            "init": "neurons",
            "faithful": "exact",
        },
    )
    row = score_output(found, targets.draw_pairs(torch.Generator().manual_seed(0)))
    assert row["recon_rounded"] < 1e-6


def test_the_study_claims_beside_singular_vectors(tmp_path):
    config = {
        "model": "py:digsite.decompose.subjects.targets:build_pairs",
        "modules": ["0", "2"],
        "figures": [],
        "data": "py:digsite.decompose.subjects.targets:draw_pairs",
        "decompose": {"C": 8, "steps": 4, "batch": 64, "compile": "never"},
    }
    run = create_run(tmp_path, {"study": "t", "method": "decompose.model", "config": config})
    assert execute_run(run, How(device="cpu", quiet=True, checkpoint_every_s=0.0)) == 0, run.error.read_text()
    results = read_results(run.results)
    kept = results["output_kept"]
    assert {rival.name for rival in kept.rivals} == set(BESIDE.values()) and kept.null is not None
    assert "as many at every position" in results.verdict
    no_more = kept.value <= max(rival.value for rival in kept.rivals)
    assert no_more == ("no more than directions that know nothing" in results.verdict)


def test_a_run_of_the_reference_code_is_scored_and_shown_and_not_trained(tmp_path):
    """Its folder in place of a model: the parts that were trained there get this study's rivals, claims and pages."""
    torch.manual_seed(0)
    state = {
        "linear1.weight": torch.randn(2, 5),
        "linear2.weight": torch.randn(5, 2),
        "linear2.bias": torch.zeros(5),
    }
    tensors = {f"target_model.{name}": value for name, value in state.items()}
    for name in ("linear1", "linear2"):
        matrix = state[f"{name}.weight"].T
        tensors |= {f"_components.{name}.V": torch.eye(len(matrix)), f"_components.{name}.U": matrix}
        tensors |= {f"_ci_fns.{name}.layers.0.W": torch.zeros(len(matrix), 1, 2)}
        tensors |= {f"_ci_fns.{name}.layers.0.b": torch.zeros(len(matrix), 2)}
        tensors |= {f"_ci_fns.{name}.layers.2.W": torch.zeros(len(matrix), 2, 1)}
        tensors |= {f"_ci_fns.{name}.layers.2.b": torch.ones(len(matrix), 1)}  # all are important
    (tmp_path / "theirs").mkdir()
    torch.save(tensors, tmp_path / "theirs" / "model_100.pth")
    (tmp_path / "theirs" / "final_config.yaml").write_text(
        "C: 5\nci_fn_type: mlp\nsigmoid_type: leaky_hard\n"
    )
    config = {"model": str(tmp_path / "theirs"), "modules": ["*"], "figures": [], "data": "uniform"}
    run = create_run(tmp_path, {"study": "t", "method": "decompose.model", "config": config})
    assert execute_run(run, How(device="cpu", quiet=True, checkpoint_every_s=0.0)) == 0, run.error.read_text()
    results = read_results(run.results)
    assert results["output_kept"].value == 1 and results["linear1/components"].value == 5
    assert Decomposition.load(f"{run.path}").modules == ["linear1", "linear2"]
