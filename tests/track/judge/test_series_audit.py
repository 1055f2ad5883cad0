"""Series with planted faults: the steps are named, and a clean series is called clean."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from digsite.track.api import audit_target, read_target
from digsite.track.core import series_path
from digsite.track.judge.planted_faults import PLANTS, score_plants
from digsite.track.judge.series_audit import audit_series
from digsite.track.subjects.checkpoint_prints import (
    CheckpointPrint,
    draw_places,
    read_prints,
    step_of_reference,
)

SHAPES = {"a.weight": (40, 30), "a.bias": (40,), "norm.weight": (40,), "b.weight": (20, 40)}


def walk(seed: int, count: int = 41) -> list[dict[str, torch.Tensor]]:
    """A training as weights see it: a straight way from a random start, with noise."""
    draw = torch.Generator().manual_seed(seed)
    start = {n: torch.randn(s, generator=draw) for n, s in SHAPES.items()}
    end = {n: torch.randn(s, generator=draw) for n, s in SHAPES.items()}
    start["norm.weight"], end["norm.weight"] = torch.ones(40), torch.ones(40) + 0.2 * end["norm.weight"]
    noise = [
        {n: 0.02 * torch.randn(s, generator=draw) * (i > 0) for n, s in SHAPES.items()} for i in range(count)
    ]
    return [
        {n: start[n] + (end[n] - start[n]) * (i / count) ** 0.7 + noise[i][n] for n in SHAPES}
        for i in range(count)
    ]


def write_series(folder: Path, states: list[dict[str, torch.Tensor]], **meta: str) -> Path:
    folder.mkdir(exist_ok=True)
    for i, state in enumerate(states):
        save_file(state, folder / f"step_{100 * i}.safetensors", metadata=meta or None)
    return folder


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_series(tmp_path_factory.mktemp("clean"), walk(0))


def prints_of(folder: Path) -> list[CheckpointPrint]:
    return list(read_prints((int(p.stem[5:]), p) for p in folder.iterdir()))


def test_a_clean_series_has_no_findings(clean: Path) -> None:
    found = audit_target([str(clean)]).series_audit
    assert found is not None and found.findings == () and found.left_out == ()
    assert found.verdict() == "41 checkpoints, nothing is wrong with the series."


@pytest.mark.parametrize("kind", PLANTS)
def test_every_planted_fault_is_named(clean: Path, tmp_path: Path, kind: str) -> None:
    own = sorted(prints_of(clean), key=lambda p: p.step)
    stranger = sorted(prints_of(write_series(tmp_path / "other", walk(1))), key=lambda p: p.step)
    score = score_plants(own, stranger, kind, 4, np.random.default_rng(0))
    assert score.found == 4 and score.others <= 2  # a rounded copy beside its original may take it along


def test_three_checkpoints_replaced_by_the_last(clean: Path, tmp_path: Path) -> None:
    """The first meeting with such a series: it was accepted in silence, and its finds were gone."""
    states = walk(0)
    for i in (7, 19, 30):
        states[i] = states[-1]
    folder = write_series(tmp_path / "copies", states)
    found = read_target(folder, ["stable_rank"], "edge")
    assert found.series_audit is not None and found.series_audit.left_out == (700, 1900, 3000)
    assert "steps 700, 1,900 and 3,000 hold the weights of step 4,000" in found.lines()[0]
    assert all(700 not in series.steps and 800 in series.steps for series, _ in found.found)


def test_headers_speak(clean: Path, tmp_path: Path) -> None:
    states = walk(0)
    del states[20]["b.weight"]
    states[5]["a.weight"][0, 0] = states[6]["a.weight"][1] = float("nan")
    states[9] = {n: v.half() for n, v in states[9].items()}
    folder = write_series(tmp_path / "broken", states)
    whole = (folder / "step_3000.safetensors").read_bytes()
    (folder / "step_3000.safetensors").write_bytes(whole[: len(whole) // 2])
    (folder / "step_3500.safetensors").unlink()
    found = audit_series(prints_of(folder))
    text = "\n".join(found.lines())
    assert "step 2,000 lacks 1 of 4 tensors, the first is 'b.weight'" in text
    assert "step 600 holds NaN" in text
    assert "'a.bias' is F16 at step 900 and F32 elsewhere" in text
    assert "step 3,000: '...' is not a whole safetensors file" in text
    assert "between step 3,400 and 3,600 about 1 checkpoints are missing" in text
    assert set(found.left_out) >= {600, 2000, 3000} and 900 not in found.left_out


def test_settings_of_another_run(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "series", walk(0), optimizer="adamw", vocab="320")
    save_file(walk(0)[8], folder / "step_800.safetensors", metadata={"optimizer": "sgd", "vocab": "320"})
    found = audit_series(prints_of(folder))
    assert found.left_out == (800,)
    assert "step 800: optimizer is 'sgd' and not 'adamw'" in found.lines()[0]


def test_a_missing_shard(tmp_path: Path) -> None:
    for i, state in enumerate(walk(0)[:6]):
        folder = tmp_path / f"checkpoint-{i}"
        folder.mkdir()
        names = list(state)
        parts = {"one.safetensors": names[:2], "two.safetensors": names[2:]}
        for name, own in parts.items():
            save_file({n: state[n] for n in own}, folder / name)
        index = {"weight_map": {n: part for part, own in parts.items() for n in own}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "checkpoint-3" / "two.safetensors").unlink()
    found = audit_target([str(tmp_path)]).series_audit
    assert found is not None and found.left_out == (3,)
    assert "lacks 1 of its 2 weight files" in found.lines()[0]


def test_a_restart_and_its_learning_rate(tmp_path: Path) -> None:
    again = [*walk(0)[:25], *walk(0)[1:16]]
    jittered = [{n: v + 0.01 * torch.randn_like(v) for n, v in s.items()} for s in again]
    found = audit_series(prints_of(write_series(tmp_path / "again", jittered)))
    assert any(f.kind == "restart" and f.steps == (2500,) for f in found.findings)
    own = [
        replace(p, facts={"lr": f"{0.1 / (1 + p.step % 2000):.6f}"})
        for p in prints_of(write_series(tmp_path / "lr", walk(0)))
    ]
    assert any("the schedule restarts at step 2,000" in f.what for f in audit_series(own).findings)


def test_step_zero_with_learned_scales(tmp_path: Path) -> None:
    states = walk(0)
    states[0]["norm.weight"] = states[1]["norm.weight"]
    found = audit_series(prints_of(write_series(tmp_path / "late", states)))
    assert any(f.kind == "no start" and f.steps == (0,) for f in found.findings)


def test_gaps_of_published_schedules_are_none() -> None:
    from digsite.track.judge.series_headers import check_gaps

    pythia = [0, *(2**i for i in range(10)), *range(1000, 143_001, 1000)]
    assert list(check_gaps(pythia)) == []
    assert next(iter(check_gaps([s for s in pythia if s != 57_000]))).steps == (56_000, 58_000)
    assert next(iter(check_gaps([2**i for i in range(14) if i != 7]))).steps == (64, 256)


def test_frozen_weights_are_a_doubt(tmp_path: Path) -> None:
    found = audit_series(prints_of(write_series(tmp_path / "frozen", [walk(0)[0]] * 6)))
    assert found.left_out == () and "nothing moves" in found.lines()[0]


def test_a_hub_that_falls_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    from digsite.base.errors import Unreachable
    from digsite.track.subjects import checkpoint_prints
    from digsite.weights import WeightBundle

    asked = []

    def answer(reference: str) -> WeightBundle:
        asked.append(reference)
        if len(asked) > 10:
            raise Unreachable("The model is not in the local cache and the hub does not answer.")
        return WeightBundle(walk(0)[len(asked) - 1])

    monkeypatch.setattr(checkpoint_prints, "read_weights", answer)
    found = audit_target([f"hub:org/suite@step{i}" for i in range(41)]).series_audit
    assert found is not None and len(asked) == 12 and found.kept == tuple(range(10))
    assert any("was not asked for: the hub had stopped answering" in f.what for f in found.findings)


def test_the_verb(clean: Path, tmp_path: Path) -> None:
    from digsite.cli.track import track_command

    runner = CliRunner()
    answer = runner.invoke(track_command, [str(clean), "--audit"])
    assert answer.output == "audit: 41 checkpoints, nothing is wrong with the series.\n"
    listed = tmp_path / "references.txt"
    listed.write_text("\n".join(f"file:{clean}/step_{100 * i}.safetensors" for i in (0, 2, 1, 3)))
    answer = runner.invoke(track_command, [str(listed), "--audit", "--json"])
    assert json.loads(answer.output)["audit"]["findings"][0]["what"].startswith(
        "the list goes back at step 100"
    )


@given(size=st.integers(1, 5000), share=st.integers(32, 700))
def test_places_lie_inside_and_are_as_many_as_asked(size: int, share: int) -> None:
    places = draw_places("w", size, share)
    assert all(0 <= a < b <= size for a, b in places)
    assert sum(b - a for a, b in places) <= max(share, 32) and draw_places("w", size, share) == places


@given(noise=st.floats(0, 3), seed=st.integers(0, 9))
def test_ways_lie_between_a_line_and_noise(noise: float, seed: int) -> None:
    """In many dimensions: 1 for a line, the square root of 2 for a random walk, 2 for noise around a point."""
    rng = np.random.default_rng(seed)
    line = np.arange(12)[:, None] * rng.standard_normal(3000)
    ways = series_path.ways_over(
        series_path.pairwise_distances(line + noise * rng.standard_normal((12, 3000)))
    )
    assert ways.min() > 0.99 and ways.max() < 2.1


@given(swap=st.integers(1, 8), seed=st.integers(0, 5))
def test_sorting_mends_an_exchange_and_nothing_else(swap: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = np.cumsum(rng.standard_normal((12, 500)), 0)
    assert series_path.sort_path(series_path.pairwise_distances(rows)) == list(range(12))
    rows[[swap, swap + 1]] = rows[[swap + 1, swap]]
    mended = series_path.sort_path(series_path.pairwise_distances(rows))
    assert [i for i, own in enumerate(mended) if i != own] == [swap, swap + 1]


def test_steps_of_references() -> None:
    assert step_of_reference("hub:EleutherAI/pythia-70m@step3000") == 3000
    assert step_of_reference("out/step_20.safetensors") == 20
    assert step_of_reference("hub:org/model") is None
