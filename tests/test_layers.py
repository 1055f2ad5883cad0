"""The shape of the building: who may import whom, checked, and shown to fail when it should."""

import ast
import re
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
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


TREES = {path: ast.parse(path.read_text()) for path in SOURCE.rglob("*.py")}


def named_kinds(tree: ast.AST, inside: bool = False) -> Iterator[int]:
    """Lines on which code compares a kind with a name that it knows, outside of the class that has kinds."""
    for node in ast.iter_child_nodes(tree):
        own = inside or (
            isinstance(node, ast.ClassDef)
            and any(isinstance(n, ast.AnnAssign) and getattr(n.target, "id", "") == "kind" for n in node.body)
        )
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq) and not own:
            sides = [node.left, *node.comparators]
            kinds = [s for s in sides if "kind" in (getattr(s, "attr", ""), getattr(s, "id", ""))]
            if kinds and any(isinstance(s, ast.Constant) for s in sides):
                yield node.lineno
        yield from named_kinds(node, own)


def test_what_has_kinds_says_itself_what_they_mean():
    """`task.is_regression`, `opened.takes_images`: a new kind is one line in one class, and no search for comparisons."""
    found = {path.relative_to(SOURCE).as_posix(): list(named_kinds(tree)) for path, tree in TREES.items()}
    assert not {path: lines for path, lines in found.items() if lines}
    assert list(named_kinds(ast.parse('x = [v for v in views if v.kind == "table"]'))) == [1]


def test_no_name_stands_for_anything():
    """`found` was a variable of 430 functions with as many types; a name is searched for, so it says what it holds."""
    empty, used = {"found", "one", "mine", "place", "told"}, []
    for path, tree in TREES.items():
        for function in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.Lambda)):
            for node in ast.walk(function):
                stored = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in empty
                if stored or (isinstance(node, ast.arg) and node.arg in empty):
                    used.append(f"{path.relative_to(SOURCE)}:{node.lineno}")
    assert not used


# Numbers of the whole, which no single change breaks and many do. What is held stands beside what it was in November 2026.


def count_explaining(path: Path) -> tuple[int, int]:
    """Lines of docstrings and lines that are a comment; and lines of code, these left out."""
    docs: set[int] = set()
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            docs |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    with path.open("rb") as file:
        marks = {m.start[0] for m in tokenize.tokenize(file.readline) if m.type == tokenize.COMMENT}
    lines = path.read_text().splitlines()
    filled = {i for i, line in enumerate(lines, 1) if line.strip()}
    comments = {i for i in marks if lines[i - 1].lstrip().startswith("#")}
    return len(filled & docs) + len(comments - docs), len(filled - docs - comments)


def test_the_formatter_has_no_exception():
    assert not [path for path in TREES if re.search(r"# fmt: (skip|off)", path.read_text())]  # 235


def test_the_number_of_files():
    assert len(TREES) <= 560  # 678


def test_there_is_an_explaining_line_for_every_eight_of_code():
    explaining, code = (sum(part) for part in zip(*map(count_explaining, TREES), strict=True))
    assert explaining >= 0.12 * code, f"{100 * explaining / code:.1f} of 100"  # 8.3 of 100


def test_arrows_between_files_are_few():
    lines = sum(len(path.read_text().splitlines()) for path in TREES)
    edges = sum(len(targets - {name}) for name, targets in arrows().items())
    assert edges <= 33 * lines / 1000, f"{1000 * edges / lines:.1f} of 1,000 lines"  # 47


def test_a_name_can_be_searched_for():
    named = (n for tree in TREES.values() for n in ast.walk(tree) if isinstance(n, ast.FunctionDef))
    functions = [node.name.strip("_") for node in named if not node.name.startswith("__")]
    assert sum("_" not in name for name in functions) <= 0.25 * len(functions)  # 71 %
    tops = Counter(
        n.name for t in TREES.values() for n in t.body if isinstance(n, ast.FunctionDef | ast.ClassDef)
    )
    shared = sum(count for count in tops.values() if count > 1)
    assert shared <= 0.08 * tops.total(), sorted(tops, key=lambda n: -tops[n])[:5]  # 38 %


def test_every_benchmark_says_what_its_full_size_is():
    """`make bench-full` asks each file in the folder for it, and a file that knows no such option would only end in an error."""
    folder = ROOT / "bench"
    files = [p for p in folder.glob("*.py") if p.name != "run.py" and not p.name.startswith("_")]
    assert len(files) > 10
    assert [p.name for p in files if '"--full"' not in p.read_text()] == []
