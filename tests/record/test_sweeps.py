import json

import pytest

from digsite.base.errors import NotFound
from digsite.record import create_run
from digsite.record.sweeps import FOLDER, find_sweep, sweeps_in


@pytest.fixture
def root(tmp_path):
    for name in ("first", "second"):
        folder = tmp_path / FOLDER / name
        folder.mkdir(parents=True)
        rows = []
        for seed in range(3):
            launch = {"study": "countdown", "method": "countdown.countdown", "config": {"seed": seed}}
            run = create_run(tmp_path, launch, run_id=f"{name}{seed}")
            point = {"seed": seed, "steps": 1}
            rows.append(
                {
                    "run": f"countdown/{run.id}",
                    "study": "countdown",
                    "point": point,
                    "pack": None,
                    "minutes": 1,
                }
            )
        (folder / "plan.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_a_sweep_reads_states_from_run_directories(root):
    sweep = find_sweep("first", root)
    assert sweep.counts() == {"planned": 3}
    assert sweep.varied_paths() == ["seed"]
    assert [m.run.id for m in sweep.members] == ["first0", "first1", "first2"]


def test_sweeps_are_found_by_name_part_and_last(root):
    assert [s.name for s in sweeps_in(root)] == ["first", "second"]
    assert find_sweep("sec", root).name == "second"
    assert find_sweep("last", root).name in ("first", "second")
    with pytest.raises(NotFound, match="no sweep 'frist'.*Did you mean 'first'"):
        find_sweep("frist", root)
