"""The commands of docs/scale.md, really run one after the other, in their smallest size and with fewer seeds."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"
STARTS = re.compile(r"^(sweep (tms|--file)|run )")


def commands() -> list[list[str]]:
    blocks = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), re.S | re.M)
    lines = [part for block in blocks for line in block.splitlines() for part in line.split(" ; ")]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.strip()]


def test_the_page_has_its_commands():
    assert len(commands()) >= 12


@pytest.mark.scheduler
@pytest.mark.timeout(1200)
def test_every_command_of_the_page_works(tmp_path, on_slurm):
    for module in ("optuna", "tensorboardX", "wandb", "wandb_workspaces"):
        if not importlib.util.find_spec(module):
            pytest.skip(f"{module} is not installed")
    (text,) = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.S | re.M)
    (tmp_path / "sweep.yaml").write_text(text)
    env = {
        **os.environ,
        "DIGSITE_OFFLINE": "1",
        "DIGSITE_HOME": str(tmp_path / "runs"),
        "OMP_NUM_THREADS": "1",
    }
    for words in commands():
        words = ["seed=0..2" if word in ("seed=0..99", "seed=0..4") else word for word in words]
        smaller = {"cpu": "main", "12": "4"}  # the partition of the test's own SLURM; fewer settings to try
        words = [smaller.get(word, word) for word in words]
        if STARTS.match(" ".join(words)):
            words = [*(word for word in words if word != "--quick"), "--smoke"]
        done = subprocess.run(
            [sys.executable, "-m", "digsite", *words],
            cwd=tmp_path,
            env=env,
            text=True,
            capture_output=True,
            timeout=600,
        )
        assert done.returncode == 0, (words, done.stdout[-500:], done.stderr[-1500:])
