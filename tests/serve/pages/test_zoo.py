"""Zoos: the server reads the same weights as the lab."""

import numpy as np
import pytest
from starlette.testclient import TestClient

from digsite.serve import build_app
from digsite.zoo import Zoo


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    from digsite.studies import find_study
    from digsite.studies.plan import plan_run, start_run
    from digsite.worker.execute import How, execute_run

    root = tmp_path_factory.mktemp("zoo") / "runs"
    run = start_run(plan_run(find_study("mlp-digits"), size="smoke"), root)
    assert execute_run(run, How(device="cpu", quiet=True)) == 0
    return run


@pytest.fixture
def visitor(zoo):
    with TestClient(build_app(zoo.path.parent.parent), base_url="http://localhost") as client:
        yield client


def test_the_list_the_map_and_the_members(visitor, zoo):
    key = f"mlp-digits/{zoo.id}"
    assert key in visitor.get("/zoo").text
    page = visitor.get(f"/zoo/{key}").text
    lab = Zoo.open(zoo.artifacts / "zoo")
    assert f"{len(lab)} networks" in page and f"/zoo/{key}/0" in page
    answer = visitor.get(f"/api/zoo/{key}").json()
    assert answer["total"] == len(lab) and "test_accuracy" in answer["columns"]


def test_a_member_has_the_weights_that_the_lab_reads(visitor, zoo):
    lab = Zoo.open(zoo.artifacts / "zoo")
    for number in (0, len(lab) - 1):
        for name, tensor in lab.member(number).tensors.items():
            answer = visitor.get(f"/api/zoo/mlp-digits/{zoo.id}/{number}?name={name}").json()
            assert answer["shape"] == list(tensor.shape)
            assert np.allclose(np.ravel(answer["values"]), tensor.numpy().ravel(), atol=1e-6)
            if tensor.ndim == 2:
                assert np.allclose(
                    answer["singular_values"], np.linalg.svd(tensor.numpy(), compute_uv=False), atol=1e-4
                )
        page = visitor.get(f"/zoo/mlp-digits/{zoo.id}/{number}")
        assert page.status_code == 200 and "layers.0.weight" in page.text


def test_what_is_not_there(visitor, zoo):
    base = f"mlp-digits/{zoo.id}"
    for path in (
        f"/zoo/{base}/99999",
        f"/zoo/{base}/-1",
        f"/zoo/{base}/" + "9" * 5000,
        "/zoo/mlp-digits/none",
        f"/api/zoo/{base}/0?name=none",
    ):
        assert visitor.get(path).status_code == 404, path


def test_a_run_without_a_zoo_has_none(client, run):
    assert client.get(f"/zoo/showcase/{run.id}").status_code == 404
    assert "No zoos here yet" in client.get("/zoo").text


def test_a_member_shows_what_readers_of_its_run_say(visitor, zoo):
    zoo.tables.mkdir(exist_ok=True)
    network = f"zoo:runs/mlp-digits/{zoo.id}/artifacts/zoo#3"
    text = f"reader,network,truth,predicted,low,high\nstatistics,{network},0.5,0.625,0.4,0.8\n<b>,{network}1,0,0,0,0\n"
    (zoo.tables / "networks.csv").write_text(text)
    page = visitor.get(f"/zoo/mlp-digits/{zoo.id}/3").text
    assert (
        "What its weights say" in page
        and "0.625" in page
        and "0.4 to 0.8" in page
        and "&lt;b&gt;" not in page
    )
    assert "What its weights say" not in visitor.get(f"/zoo/mlp-digits/{zoo.id}/4").text
