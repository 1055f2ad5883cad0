"""Views over the wire: tiles, cells, neighbors."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from digsite.record.layout import RunDir


@pytest.fixture
def mask(run):
    stored = load_file(run.artifacts / "mask.safetensors")
    columns = run.plan()["config"]["mask_columns"]
    keep = np.unpackbits(stored["bits"].numpy(), axis=1, count=columns, bitorder="little")
    return keep, stored["row_clusters"].numpy()


def tile(client, run, query):
    answer = client.get(f"/api/runs/showcase/{run.id}/tile?{query}")
    assert answer.status_code == 200, answer.text
    shape = int(answer.headers["x-rows"]), int(answer.headers["x-columns"])
    return np.frombuffer(answer.content, "<f4").reshape(shape)


def test_the_summary_of_a_mask(client, run, mask, address):
    keep, _ = mask
    answer = client.get(f"/api{address(run)}/view?name=mask").json()
    assert (answer["rows"], answer["columns"]) == keep.shape
    assert answer["mean"] == pytest.approx(keep.mean())
    assert answer["row_orders"] == ["stored", "size", "cluster"] and answer["column_orders"] == [
        "stored",
        "size",
    ]


def test_tiles_of_a_mask(client, run, mask):
    keep, _ = mask
    assert np.array_equal(tile(client, run, "name=mask&level=0&row=0&column=1"), keep[:256, 256:512])
    coarse = tile(client, run, "name=mask&level=2&row=0&column=0")
    assert coarse.shape == (64, 175)
    assert np.allclose(coarse, keep.reshape(64, 4, 175, 4).mean(axis=(1, 3)))


def test_a_mask_sorted_by_cluster_then_density(client, run, mask, address):
    keep, clusters = mask
    order = np.lexsort((-keep.mean(axis=1), clusters))
    query = "name=mask&rows=cluster"
    assert np.array_equal(tile(client, run, f"{query}&level=0&row=0&column=0"), keep[order][:256, :256])
    cell = client.get(f"/api{address(run)}/cells?{query}&top=5&left=7&height=2&width=3").json()
    assert cell["rows"] == list(order[5:7]) and cell["columns"] == [7, 8, 9]
    assert np.array_equal(cell["values"], keep[order][5:7, 7:10])


def test_neighbors_are_named_as_stored(client, run, mask, address):
    keep, _ = mask
    answer = client.get(f"/api{address(run)}/near?name=mask&axis=columns&index=3&k=4&rows=cluster").json()
    distances = (keep[:, 3:4] != keep).sum(axis=0)
    assert answer["distance"] == [int(distances[i]) for i in answer["neighbors"]]
    assert answer["measure"] == "differing bits" and len(answer["null"]) == 4


def test_only_matrices_have_tiles(client, run, address):
    assert client.get(f"/api{address(run)}/tile?name=overlaps").status_code == 400
    assert client.get(f"/api{address(run)}/tile?name=none").status_code == 404


def test_the_page_of_a_view(client, run, address):
    page = client.get(f"{address(run)}/views/who%20disturbs%20whom").text
    assert 'data-kind="graph"' in page
    assert client.get(f"{address(run)}/views/none").status_code == 404


def test_weights_are_centered(client, run, address):
    answer = client.get(f"/api{address(run)}/view?name=W").json()
    weights = load_file(run.artifacts / "weights.safetensors")["w"]
    assert answer["low"] == -answer["high"] and answer["high"] > 0
    assert answer["max"] == pytest.approx(float(torch.max(weights)))


def test_panels_are_masks_and_their_difference(client, run, mask, address):
    keep, clusters = mask
    answer = client.get(f"/api{address(run)}/view?name=two%20masks&panel=2").json()
    assert answer["panels"] == ["a", "b", "a − b"]
    other = np.roll(keep, 1, axis=0)
    wanted = keep.astype(float) - other
    assert answer["mean"] == pytest.approx(wanted.mean(), abs=1e-6)
    assert (answer["low"], answer["high"], answer["mask"]) == (-1, 1, False)
    assert answer["differing"] == pytest.approx((keep != other).mean(), abs=1e-6)
    query = "name=two%20masks&panel=2&level=0&row=0&column=1"
    assert np.array_equal(tile(client, run, query), wanted[:256, 256:512])
    order = np.lexsort((-keep.mean(axis=1), clusters))  # of the first panel, in all of them
    assert np.array_equal(tile(client, run, f"{query}&rows=cluster"), wanted[order][:256, 256:512])
    assert client.get(f"/api{address(run)}/view?name=two%20masks&panel=3").status_code == 404


def keep_of(run):
    stored = load_file(run.artifacts / "mask.safetensors")["bits"].numpy()
    return np.unpackbits(stored, axis=1, count=run.plan()["config"]["mask_columns"], bitorder="little")


def test_masks_of_two_runs_stand_beside_each_other(client, made, run):
    other = next(
        r for r in map(RunDir, sorted((made / "showcase").iterdir())) if r.plan()["config"]["seed"] == 1
    )
    page = client.get(f"/compare?run=showcase/{run.id}&run=showcase/{other.id}").text
    assert f'data-api="/api/runs/showcase/{run.id}/beside/showcase/{other.id}"' in page
    assert "<option selected>mask</option>" in page and "<option>two masks: a</option>" in page
    base = f"/api/runs/showcase/{run.id}/beside/showcase/{other.id}"
    answers = [client.get(f"{base}/view?name=mask&panel={i}").json() for i in range(4)]
    one, two = keep_of(run), keep_of(other)
    assert answers[0]["panels"][:2] == ["seed 0", "seed 1"]
    assert [a["mean"] for a in answers[:2]] == pytest.approx([one.mean(), two.mean()])
    assert answers[2]["differing"] == pytest.approx((one != two).mean(), abs=1e-6)
    assert answers[3]["differing"] == pytest.approx(
        answers[2]["differing"], abs=0.02
    )  # drawn apart: no more than chance
    cells = client.get(f"{base}/cells?name=mask&panel=2&top=3&left=4&height=2&width=5").json()["values"]
    assert np.array_equal(cells, one[3:5, 4:9].astype(float) - two[3:5, 4:9])
    tiled = client.get(f"{base}/tile?name=mask&panel=3&level=0&row=0&column=0")
    assert tiled.status_code == 200 and tiled.headers["x-rows"] == "256"
    assert client.get(f"{base}/view?name=none").status_code == 404
    assert client.get(f"/api/runs/showcase/{run.id}/beside/showcase/none/view?name=mask").status_code == 404


def test_runs_without_masks_of_one_shape_have_none_beside_each_other(served, root, planned):
    runs = [planned(), planned()]
    page = served.get("/compare?" + "&".join(f"run=study/{r.id}" for r in runs)).text
    assert "Masks beside each other" not in page
