"""Components: switching one off in the dashboard is what the lab's own edit does."""

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from digsite.decompose.core.decomposition import Decomposition
from digsite.serve import build_app
from digsite.serve.views import find_view, read_view


@pytest.fixture(scope="module")
def decomposed(tmp_path_factory):
    from digsite.studies import find_study
    from digsite.studies.plan import plan_run, start_run
    from digsite.worker.execute import How, execute_run

    root = tmp_path_factory.mktemp("decomposed") / "runs"
    run = start_run(plan_run(find_study("tms_5-2"), size="smoke"), root)
    assert execute_run(run, How(device="cpu", quiet=True)) == 0
    return run


@pytest.mark.parametrize("module", ["linear1", "linear2"])
def test_outputs_without_components_are_those_of_the_edited_model(decomposed, module):
    found = Decomposition.load(decomposed.path)
    off, feature = found.components(module).norms.topk(3).indices.tolist(), 3
    edited = found.ablate({module: off})
    x = torch.zeros(1, 5)
    x[0, feature] = 0.8
    view = find_view(decomposed, f"components of {module}")
    answer = read_view(view, {"off": ",".join(map(str, off)), "feature": str(feature), "size": "0.8"})
    assert np.allclose(answer["before"], found.model(x).detach().numpy()[0], atol=1e-5)
    assert np.allclose(answer["after"], edited(x).detach().numpy()[0], atol=1e-5)
    assert not np.allclose(answer["before"], answer["after"], atol=1e-4)


def test_components_are_shown_most_used_first(decomposed):
    answer = read_view(find_view(decomposed, "components of linear1"), {})
    used = [c["importance"] for c in answer["components"]]
    assert used == sorted(used, reverse=True) and answer["toy"] and answer["probed"]
    assert len(answer["components"]) == answer["total"] == 20
    assert {len(c["reads"]) for c in answer["components"]} == {5}


def test_over_the_wire(decomposed):
    with TestClient(build_app(decomposed.path.parent.parent), base_url="http://localhost") as client:
        base = f"/api/runs/tms_5-2/{decomposed.id}/view?name=components of linear1"
        plain = client.get(base).json()
        assert plain["off"] == [] and plain["before"] == plain["after"]
        wild = client.get(f"{base}&off=1,x,99999,-3&feature=999&size=nan").json()
        assert wild["off"] == [1] and wild["feature"] == 4 and wild["size"] == 1.0
