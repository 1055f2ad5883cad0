"""What people hand over by mistake gets one sentence, and what can be used of it is used."""

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

from digsite.base.errors import UsageError
from digsite.track import detect_jumps, estimate_coefficient
from digsite.track.api import SeriesAudit, audit_target, read_references, read_target
from digsite.track.core.detect import judge_jumps

SHAPES = {"a.weight": (40, 30), "b.weight": (20, 40)}


def draw_states(seed: int, count: int = 30) -> list[dict[str, torch.Tensor]]:
    """A training as weights see it: a straight way from a random start, with noise."""
    draw = torch.Generator().manual_seed(seed)
    start, way = ({n: torch.randn(s, generator=draw) for n, s in SHAPES.items()} for _ in range(2))
    return [
        {n: start[n] + 0.1 * i * way[n] + 0.05 * torch.randn(s, generator=draw) for n, s in SHAPES.items()}
        for i in range(count)
    ]


def write_folder(folder: Path, states: list[dict[str, torch.Tensor]]) -> Path:
    folder.mkdir(exist_ok=True)
    for i, state in enumerate(states):
        save_file(state, folder / f"step_{100 * i}.safetensors")
    return folder


def audit_of(folder: Path) -> SeriesAudit:
    found = audit_target([str(folder)]).series_audit
    assert found is not None
    return found


def test_one_checkpoint(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "one", draw_states(0, 1))
    for ask in (lambda: audit_target([str(folder)]), lambda: read_target(folder, (), "edge")):
        with pytest.raises(UsageError, match="1 checkpoint"):
            ask()
    with pytest.raises(UsageError, match="A series needs two checkpoints"):
        audit_target([str(folder / "step_0.safetensors")])


def test_two_runs_in_one_folder(tmp_path: Path) -> None:
    mine, other = draw_states(0), draw_states(1)
    mixed = [other[i] if i in (7, 13, 22) else state for i, state in enumerate(mine)]
    found = audit_of(write_folder(tmp_path / "mixed", mixed))
    assert found.left_out == (700, 1300, 2200) and len(found.kept) == 27


def test_two_runs_of_different_networks(tmp_path: Path) -> None:
    """Every second checkpoint has none of the tensors of the others."""
    first = draw_states(0)
    mixed = [state if i % 2 else {f"other.{n}": v for n, v in state.items()} for i, state in enumerate(first)]
    kinds = {f.kind for f in audit_of(write_folder(tmp_path / "both", mixed)).findings}
    assert "missing tensors" in kinds and "partly equal" not in kinds


def test_the_same_steps_of_two_runs(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "both", draw_states(0, 5))
    save_file(draw_states(1, 1)[0], folder / "other-200.safetensors")
    with pytest.raises(UsageError, match="both of step 200"):
        audit_target([str(folder)])


def test_a_schedule_with_a_restart(tmp_path: Path) -> None:
    again = [*draw_states(0)[:18], *draw_states(0)[:12]]
    jittered = [{n: v + 0.02 * torch.randn_like(v) for n, v in s.items()} for s in again]
    found = audit_of(write_folder(tmp_path / "again", jittered))
    (restart,) = (f for f in found.findings if f.kind == "restart")
    assert restart.steps == (1800,)


def test_a_tensor_missing_half_way(tmp_path: Path) -> None:
    states = draw_states(0)
    del states[15]["b.weight"]
    found = audit_of(write_folder(tmp_path / "lacking", states))
    assert found.left_out == (1500,)
    assert "step 1,500 lacks 1 of 2 tensors, the first is 'b.weight'" in "\n".join(found.lines())


def test_a_series_that_stands_still(tmp_path: Path) -> None:
    found = audit_of(write_folder(tmp_path / "frozen", draw_states(0)[:1] * 6))
    assert found.left_out == () and "nothing moves" in found.lines()[0]
    assert detect_jumps(np.full(100, 2.0)) == []


def test_a_series_of_three_levels_is_not_judged() -> None:
    stairs = np.random.default_rng(0).integers(0, 3, 200).astype(float)
    assert "take only 3 levels" in judge_jumps(stairs).because


def test_a_model_that_cannot_be_sampled() -> None:
    model = torch.nn.Linear(4, 2).requires_grad_(False)
    with pytest.raises(UsageError, match="without trained parameters cannot be sampled"):
        estimate_coefficient(model, (torch.randn(16, 4), torch.randint(2, (16,))))


def test_a_tensor_that_goes_half_way(tmp_path: Path) -> None:
    states = draw_states(0)
    for state in states[12:]:
        state.pop("b.weight")
        state["c.weight"] = torch.zeros(3, 3)
    found = audit_of(write_folder(tmp_path / "half", states))
    text = "\n".join(found.lines())
    assert "doubt  missing tensors: 'b.weight' is in 12 of 30 checkpoints alone" in text
    assert "steps 0, 100, 200, 300, 400 and 7 more lack 1 of 2 tensors, the first is 'c.weight'" in text


def test_a_stretch_that_comes_twice_is_one_line(tmp_path: Path) -> None:
    found = audit_of(write_folder(tmp_path / "twice", [*draw_states(0)[:16], *draw_states(0)[:10]]))
    assert found.left_out == tuple(range(1600, 2600, 100))
    assert len(found.lines()) == 2 and "the series starts again" in found.lines()[0]


def test_references_are_audited_too(tmp_path: Path) -> None:
    states = draw_states(0)
    states[7] = states[29]
    folder = write_folder(tmp_path / "listed", states)
    found = read_references([str(folder / f"step_{100 * i}.safetensors") for i in range(30)], (), "edge")
    assert found.series_audit is not None and found.series_audit.left_out == (700,)
    assert all(700 not in series.steps for series, _ in found.found)


def test_runs_in_folders_of_their_own_are_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "a", draw_states(0, 3))
    with pytest.raises(UsageError, match="holds no checkpoint") as caught:
        audit_target([str(tmp_path)])
    assert str(tmp_path / "a") in str(caught.value.hint)


class Suite(BaseHTTPRequestHandler):
    """A hub on loopback with a revision `step0`, `step1`, ... for each checkpoint; what it answers with instead is by step."""

    protocol_version = "HTTP/1.1"
    asked = ("revision", "tree", "resolve")
    instead: ClassVar[dict[int, int]] = {}

    def log_message(self, *words: object) -> None:
        pass

    def do_GET(self) -> None:
        parts = self.path.partition("?")[0].split(
            "/"
        )  # .../revision/stepN, .../tree/SHA, .../resolve/SHA/FILE
        asked, at = next((word, parts[i + 1]) for i, word in enumerate(parts) if word in self.asked)
        step = int(at.removeprefix("step")) if asked == "revision" else int(at, 16)
        sha = f"{step:040x}"
        body = save(draw_states(0, step + 1)[step])
        headers = {"etag": f'"{hashlib.sha1(body).hexdigest()}"', "x-repo-commit": sha}
        if asked != "resolve":
            file = {"rfilename": "model.safetensors"}
            about = {"id": "org/suite", "sha": sha, "siblings": [file], "tags": []}
            listed = [{"type": "file", "path": "model.safetensors", "size": len(body), "oid": "0"}]
            body = json.dumps(about if asked == "revision" else listed).encode()
        status = self.instead.get(step, 200)
        if status != 200:
            body, headers = b"{}", {"x-error-code": "RevisionNotFound"} if status == 404 else {}
        self.send_response(status)
        for name, text in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Suite]]:
    pytest.importorskip("huggingface_hub")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Suite)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    for name in ("HF_HUB_OFFLINE", "DIGSITE_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    constants = {
        "ENDPOINT": address,
        "HUGGINGFACE_CO_URL_TEMPLATE": address + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": False,
    }
    for name, value in constants.items():
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    yield Suite
    Suite.instead = {}
    server.shutdown()
    server.server_close()


def test_a_hub_that_fails_after_the_tenth_revision(suite: type[Suite]) -> None:
    suite.instead = dict.fromkeys(range(10, 40), 500)
    found = audit_target([f"hub:org/suite@step{i}" for i in range(16)]).series_audit
    assert found is not None and found.kept == tuple(range(10))
    text = "\n".join(found.lines())
    assert "step 11: The model 'org/suite@step11' is not in the local cache and the hub" in text
    assert "steps 12, 13, 14 and 15: was not asked for: the hub had stopped answering" in text


def test_a_revision_that_is_not_there_is_an_answer(suite: type[Suite]) -> None:
    """Two in a row do not silence the hub."""
    suite.instead = {3: 404, 4: 404, 5: 404}
    found = audit_target([f"hub:org/suite@step{i}" for i in range(8)]).series_audit
    assert found is not None and found.kept == (0, 1, 2, 6, 7)
    assert "The hub has no model 'org/suite@step4'" in "\n".join(found.lines())
