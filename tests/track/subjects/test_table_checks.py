"""The import check names what is wrong, and nothing when nothing is."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from digsite.base.errors import DigsiteError, NotFound, UsageError
from digsite.track.subjects import table_checks


def series(run: str = "a", layers: tuple[str, ...] = ("x", "y"), scale: float = 1.0) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {"run": run, "step": s, "layer": layer, "rank": 3 + scale * rng.random(), "loss": 1.0}
        for s in range(0, 200, 5)
        for layer in layers
    )


def write(folder: Path, name: str, table: pd.DataFrame) -> None:
    table.to_csv(folder / name, index=False)


def test_clean_results_have_no_findings(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", series())
    assert table_checks.check_folder(tmp_path) == []


def test_constant_series(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", series(scale=1e-9))
    (finding,) = table_checks.check_folder(tmp_path)
    assert finding.severity == "wrong" and "constant up to rounding in 2 of 2" in finding.what


def test_wrong_units(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", series())
    events = pd.DataFrame(
        {"experiment": "a", "step": [1, 30, 39], "magnitude": 1.0, "phase": [0.01, 0.1, 0.195]}
    )
    write(tmp_path, "jumps.csv", events)
    findings = table_checks.check_folder(tmp_path)
    assert any("sample indices" in f.what and "5 times too small" in f.what for f in findings)
    assert any("second half of training cannot be seen" in f.what for f in findings)
    with pytest.raises(DigsiteError, match="cannot be used"):
        table_checks.refuse_unusable(findings)
    table_checks.refuse_unusable([])


def test_duplicate_backward_and_mixed_steps(tmp_path: Path) -> None:
    one = series(layers=("x",))
    write(tmp_path, "twice.csv", pd.concat([one, one.tail(1)]))
    write(tmp_path, "backward.csv", pd.concat([one, one.head(1).assign(step=100)]))
    write(tmp_path, "mixed.csv", pd.concat([one, one.assign(run="b")]))
    found = {f.file: f.what for f in table_checks.check_folder(tmp_path)}
    assert "appears twice" in found["twice.csv"]
    assert "backward" in found["backward.csv"]
    assert "2 runs" in found["mixed.csv"]


def test_holes_and_bare_nan(tmp_path: Path) -> None:
    table = series()
    table.loc[3, "rank"] = np.nan
    write(tmp_path, "a.csv", table)
    (tmp_path / "b.json").write_text('{"rho": NaN}')
    (tmp_path / "c.json").write_text("{")
    (tmp_path / "d.json").write_text(json.dumps({"fine": 1}))
    found = {f.file: f for f in table_checks.check_folder(tmp_path)}
    assert "1 of 80 values are missing" in found["a.csv"].what
    assert "1 bare NaN" in found["b.json"].what
    assert "is not JSON" in found["c.json"].what
    assert "d.json" not in found


def test_short_empty_and_impossible_series_are_named(tmp_path: Path) -> None:
    one = series(layers=("x",)).rename(columns={"rank": "stable_rank"})
    write(tmp_path, "short.csv", one.head(9))
    write(tmp_path, "empty.csv", one.assign(stable_rank=np.nan))
    write(tmp_path, "percent.csv", one.assign(stable_rank=one["stable_rank"] / 100))
    write(tmp_path, "right.csv", one)
    found = {f.file: f.what for f in table_checks.check_folder(tmp_path)}
    assert found["short.csv"] == "9 samples are too few to look for jumps; 20 are needed"
    assert found["empty.csv"] == "no finite value in 1 of 1 series"
    assert (
        found["percent.csv"] == "below 1 in 1 of 1 series, which no dimension can be: is it in other units?"
    )
    assert "right.csv" not in found


def test_nothing_to_check(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no CSV or JSON"):
        table_checks.check_folder(tmp_path)
    (tmp_path / "a.py").write_text("1")
    with pytest.raises(UsageError, match="is no CSV or JSON"):
        table_checks.check_folder(tmp_path / "a.py")
    with pytest.raises(NotFound, match="no folder"):
        table_checks.check_folder(tmp_path / "none")


def test_the_published_results_fail_in_the_known_ways(data_dir: Path) -> None:
    findings = table_checks.check_folder(data_dir / "ndt_runs" / "published")
    assert any("bare NaN" in f.what for f in findings)
    assert any(f.file == "all_jumps_detailed.csv" and "second half" in f.what for f in findings)
