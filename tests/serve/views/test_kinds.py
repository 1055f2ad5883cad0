"""Every kind of view answers with what its script draws, from each source that it takes."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from digsite.base import families
from digsite.base.errors import UsageError
from digsite.serve.views import View, read_view, views_of
from digsite.serve.views.curve import POINTS


@pytest.fixture
def view(planned):
    run = planned()
    run.tables.mkdir()
    run.artifacts.mkdir()
    (run.tables / "t.csv").write_text(
        "step,a,b,low,high,null,group,run\n"
        + "".join(
            f"{i},{i * 0.5},{-i},{i - 1},{i + 1},0.5,{'x' if i % 2 else 'y'},s/r{i}\n" for i in range(6)
        )
    )
    (run.tables / "h.csv").write_text("left,right,count\n0,1,5\n1,2,7\n")
    rng = np.random.default_rng(0)
    tensors = {
        "line": np.arange(5.0),
        "slices": np.arange(24.0).reshape(4, 2, 3),
        "steps": np.array([0, 10, 100, 1000]),
        "lines": rng.normal(size=(3, 9)),
        "images": rng.random((4, 3, 6, 5)),
        "gray": rng.random((6, 5)),
    }
    tensors["bytes"] = (rng.random((6, 5)) * 255).astype(np.uint8)
    save_file(tensors, run.artifacts / "x.safetensors")
    run.journal.write_text('{"step": 0, "loss": 1.0}\n{"step": 1, "loss": 0.5, "acc": 0.1}\n')
    graph = {
        "nodes": [{"id": i} for i in range(3)],
        "edges": [{"source": 0, "target": 1, "weight": -2}, {"source": 1, "target": 2}],
    }
    (run.artifacts / "g.json").write_text(json.dumps({"deep": graph, **graph}))
    (run.figures).mkdir()
    (run.figures / "p.png").write_bytes(b"png")

    def make(kind, source, params=None, **options):
        return read_view(View(run, "v", kind, source, options), params or {})

    return make


def test_a_curve_from_a_table(view):
    found = view(
        "curve", "tables/t.csv", x="step", y=["a"], band=["low", "high"], null="null", x_label="step"
    )
    line, null = found["lines"]
    assert line["y"] == [0, 0.5, 1, 1.5, 2, 2.5] and line["low"][0] == -1 and line["high"][5] == 6
    assert null["null"] and null["y"] == [0.5] * 6
    assert found["x_label"] == "step"


def test_a_curve_takes_what_is_there_when_nothing_is_said(view):
    names = [line["name"] for line in view("curve", "tables/t.csv")["lines"]]
    assert names[:2] == ["a", "b"]


def test_lines_by_group_with_links(view):
    found = view("curve", "tables/t.csv", x="step", y="a", group="group", link="run", style="points")
    assert [line["name"] for line in found["lines"]] == ["y", "x"]
    assert found["lines"][1]["link"] == ["s/r1", "s/r3", "s/r5"] and found["style"] == "points"


def test_curves_from_journals_and_tensors(view):
    assert view("curve", "metrics.jsonl", y=["loss"])["lines"] == [
        {"name": "loss", "x": [0, 1], "y": [1.0, 0.5]}
    ]
    (line,) = view("curve", "artifacts/x.safetensors#line")["lines"]
    assert line["y"] == [0, 1, 2, 3, 4]
    assert len(view("curve", "artifacts/x.safetensors#lines", names=["p", "q", "r"])["lines"]) == 3


def test_histograms_are_numpys(view):
    found = view("histogram", "artifacts/x.safetensors#lines", bins=7, null="#line")
    edges = np.histogram_bin_edges(
        np.concatenate([np.arange(5.0), np.random.default_rng(0).normal(size=27)]), 7
    )
    assert np.allclose(found["edges"], edges)
    assert found["counts"]["values"].sum() == 27 and found["counts"]["null"].sum() == 5
    assert view("histogram", "tables/t.csv#a")["n"] == {"values": 6}
    assert view("histogram", "tables/h.csv")["counts"] == {"count": [5, 7]}


def test_tables(view):
    found = view("table", "tables/t.csv", columns=["b", "none", "a"])
    assert found["columns"] == ["b", "a"] and found["rows"][2] == ["-2", "1.0"] and found["total"] == 6


def test_graphs_strongest_edges_first(view):
    for source in ("artifacts/g.json", "artifacts/g.json#deep"):
        found = view("graph", source)
        assert len(found["nodes"]) == 3 and found["edges"][0]["weight"] == -2
    with pytest.raises(UsageError, match="no nodes and edges"):
        view("graph", "artifacts/g.json#none")


def test_pictures(view):
    found = view("image", "artifacts/x.safetensors#images", labels=["a", "b", "c", "d"])
    first = found["pictures"][0]
    assert (first["height"], first["width"], first["channels"].shape) == (6, 5, (3, 30)) and found[
        "total"
    ] == 4
    assert view("image", "artifacts/x.safetensors#gray")["pictures"][0]["channels"].shape == (1, 30)
    raw = view("image", "artifacts/x.safetensors#bytes")["pictures"][0]["channels"]
    assert raw.dtype == np.uint8 and raw.max() > 200
    assert view("image", "figures/p.png") == {"file": "figures/p.png"}
    with pytest.raises(UsageError, match="no picture"):
        view("image", "artifacts/x.safetensors#line")


def test_long_lines_are_thinned(planned):
    run = planned()
    run.artifacts.mkdir()
    save_file({"w": np.random.default_rng(0).normal(size=100_000)}, run.artifacts / "x.safetensors")
    (line,) = read_view(View(run, "v", "curve", "artifacts/x.safetensors#w"), {})["lines"]
    assert len(line["y"]) <= POINTS


def test_the_kinds_are_those_that_a_run_may_declare():
    from digsite.worker.run import VIEW_KINDS

    assert set(families.list_members("digsite.serve.views")) == set(VIEW_KINDS)


def test_senseless_declarations_are_left_out(planned):
    run = planned(
        views=[
            {"name": "a", "kind": "table", "source": "t.csv"},
            {"kind": "table"},
            {"name": "b", "kind": "hologram"},
            7,
        ]
    )
    assert [v.name for v in views_of(run)] == ["a"]


def test_a_slider_goes_along_the_slices_of_a_tensor(view):
    options = {
        "scrub": "#steps",
        "scrub_label": "training step",
        "names": ["layer1", "edge"],
        "null": ["edge"],
    }
    last = view("curve", "artifacts/x.safetensors#slices", **options)
    assert last["at"] == 3 and list(last["slices"]) == [0, 10, 100, 1000] and list(last["range"]) == [0, 23]
    first = view("curve", "artifacts/x.safetensors#slices", {"at": "0"}, **options)
    assert [line["y"] for line in first["lines"]] == [[0, 1, 2], [3, 4, 5]]
    assert [line["null"] for line in first["lines"]] == [False, True]
    assert view("curve", "artifacts/x.safetensors#slices", {"at": "99"}, **options)["at"] == 3
    assert view("curve", "artifacts/x.safetensors#slices", {"at": "-1"}, **options)["at"] == 3
    with pytest.raises(UsageError, match="for 4 slices"):
        view("curve", "artifacts/x.safetensors#lines", scrub="#steps")


def test_points_have_intervals_and_names_and_lead_to_the_members_of_a_zoo(view, planned):
    found = view("curve", "tables/t.csv", x="a", y="b", band=["low", "high"], label="step", style="points")
    (line,) = found["lines"]
    assert line["label"] == ["0", "1", "2", "3", "4", "5"] and line["low"][0] == -1 and "link" not in line
    run = planned()
    run.tables.mkdir()
    rows = "".join(f"{i},{i},zoo:/any/where/nwa/{run.id}/artifacts/zoo-0#{i}\n" for i in range(3))
    (run.tables / "n.csv").write_text("truth,predicted,network\n" + rows)
    options = {"x": "truth", "y": "predicted", "label": "network", "style": "points"}
    (line,) = read_view(View(run, "v", "curve", "tables/n.csv", options), {})["lines"]
    assert line["link"] == [f"/zoo/nwa/{run.id}/{i}" for i in range(3)]
