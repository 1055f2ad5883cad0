"""The shape of the building: who may import whom, checked, and shown to fail when it should."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "digsite"
TORCH_FREE = ("base", "config", "runs", "figures", "report", "serve", "launch", "mirrors", "cli")
MIRRORED = [p for p in SOURCE.rglob("*.py") if p.name not in ("__init__.py", "__main__.py")]


def lint(folder: Path) -> subprocess.CompletedProcess:
    code = "import sys; from importlinter.cli import lint_imports_command as c; c(['--no-cache'])"
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)


def test_imports_go_down_only():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("prune/config.py", "import digsite.track.config", "never import each other"),
        ("base/ids.py", "import digsite.runs.layout", "go down only"),
        ("runs/journal.py", "import torch", "never see torch"),
        ("base/ids.py", "import numpy", "standard library alone"),
        ("report/__init__.py", "import digsite.worker.run", "meet only in the run directory"),
    ],
)
def test_a_forbidden_import_is_caught(tmp_path, file, line, contract):
    """The same contracts on a copy of the tree with one bad line."""
    import shutil

    shutil.copytree(SOURCE, tmp_path / "digsite", ignore=shutil.ignore_patterns("__pycache__", "static"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / "digsite" / file
    path.write_text(path.read_text() + f"\n{line}\n")
    done = lint(tmp_path)
    assert done.returncode != 0
    assert any("BROKEN" in text and contract in text for text in done.stdout.splitlines()), done.stdout


@pytest.mark.parametrize("floor", TORCH_FREE)
def test_a_floor_without_torch_loads_without_torch(floor):
    code = (
        "import importlib, pkgutil, sys\n"
        f"root = importlib.import_module('digsite.{floor}')\n"
        "for m in pkgutil.walk_packages(root.__path__, root.__name__ + '.'): importlib.import_module(m.name)\n"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-800:]


def test_nothing_is_called_utils():
    bad = {"utils", "helpers", "common", "misc"}
    assert not [p for p in SOURCE.rglob("*") if p.stem in bad]


@pytest.mark.parametrize("path", MIRRORED, ids=lambda p: str(p.relative_to(SOURCE)))
def test_no_file_needs_a_map(path):
    assert len(path.read_text().splitlines()) <= 400
