"""The shape of the building: who may import whom, checked, and shown to fail when it should."""

import ast
import subprocess
import sys
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "digsite"
TORCH_FREE = ("base", "config", "record", "figures", "report", "serve", "launch", "mirrors", "cli")
ROOMS = ("read", "prune", "decompose", "track", "graft")
FLOORS = ("core", "subjects", "judge", "experiments", "figures")
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
        ("base/streams.py", "import digsite.record.layout", "go down only"),
        ("record/journal.py", "import torch", "never see torch"),
        ("base/streams.py", "import numpy", "standard library alone"),
        ("report/__init__.py", "import digsite.worker.run", "meet only in the run directory"),
        ("read/core/graph.py", "def late():\n    import digsite.read.judge.diff", "Inside a room"),
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
    most = 480 if path.name == "config.py" else 400  # a list of settings is read one at a time
    assert len(path.read_text().splitlines()) <= most


def arrows() -> dict[str, set[str]]:
    """Module -> modules it imports anywhere: at its top, inside a function, or for a type checker alone."""
    modules = {
        ".".join(("digsite", *p.relative_to(SOURCE).with_suffix("").parts)): p for p in SOURCE.rglob("*.py")
    }
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}
    graph = {}
    for name, path in modules.items():
        nodes = [
            n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom) and n.module
        ]
        asked = {(n.module, alias.name) for n in nodes for alias in n.names}
        graph[name] = {f"{m}.{a}" if f"{m}.{a}" in modules else m for m, a in asked if m in modules}
    return graph


def test_nothing_imports_in_a_circle():
    knots = [knot for knot in nx.strongly_connected_components(nx.DiGraph(arrows())) if len(knot) > 1]
    assert not knots


def entries(room: str) -> set[str]:
    return {p.name for p in (SOURCE / room).iterdir() if p.name != "__pycache__"}


def test_knowing_one_room_means_knowing_all_five():
    plan = {"README.md", "__init__.py", "config.py", "run.py", "api.py", *FLOORS}
    assert {room: entries(room) for room in ROOMS} == dict.fromkeys(ROOMS, plan)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_names_all_of_its_files(room):
    page = (SOURCE / room / "README.md").read_text()
    paths = [p.relative_to(SOURCE / room).as_posix() for p in (SOURCE / room).rglob("*.py")]
    missing = [path for path in paths if not path.endswith("__init__.py") and f"`{path}`" not in page]
    assert not missing, f"add a line to src/digsite/{room}/README.md for each of {missing}"


def test_no_function_is_longer_than_a_screen():
    long = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                long += [f"{path.relative_to(SOURCE)}:{node.name} has {lines} lines"] if lines > 50 else []
    assert not long
