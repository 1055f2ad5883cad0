"""The documentation is true: Python blocks run, commands parse down to their config keys, links lead somewhere.

Python blocks of one page share their names and a folder, so that a tutorial may build on itself. A block that is a
fragment and not a program says so with ```python fragment; one that is a file, with file=PATH, is written there.
"""

import re
import shlex
from pathlib import Path

import click
import pytest

from digsite.cli import cli as root_command
from digsite.studies import all_studies
from digsite.studies.plan import plan

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "src").rglob("README.md")),
]
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```", re.S | re.M)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def page_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: Path, language: str) -> list[str]:
    found = BLOCK.findall(path.read_text())
    return [
        body for kind, words, body in found if kind == language and not re.search("fragment|file=", words)
    ]


def files(path: Path) -> dict[str, str]:
    """Blocks that are files, by their path."""
    return {
        words.split("file=")[1].split()[0]: body
        for _, words, body in BLOCK.findall(path.read_text())
        if "file=" in words
    }


def commands(path: Path) -> list[list[str]]:
    """Every `digsite ...` line, without comments, prompts and the second of two commands on one line."""
    found = []
    for kind in ("bash", "console", "sh"):
        for body in blocks(path, kind):
            for line in body.replace("\\\n", " ").splitlines():
                for part in re.split(r"\s{3,}|\s;\s", line.removeprefix("$ ")):
                    words = shlex.split(part, comments=True)
                    if words and Path(words[0]).name == "digsite":
                        found.append(words[1:])
    return found


@pytest.mark.parametrize("path", [p for p in PAGES if blocks(p, "python")], ids=page_id)
def test_python_blocks_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name, body in files(path).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(body)
    names: dict[str, object] = {"__name__": "__docs__"}
    for body in blocks(path, "python"):
        exec(compile(body, page_id(path), "exec"), names)


@pytest.mark.parametrize("path", [p for p in PAGES if commands(p)], ids=page_id)
def test_commands_parse(path):
    for words in commands(path):
        parse(root_command, words)


def parse(command: click.Command, words: list[str]) -> None:
    """Down to the last option, as the command line would; then the study and its keys."""
    context = (
        command.make_context("digsite", list(words), resilient_parsing=False)
        if words not in ([], ["-h"])
        else None
    )
    while context is not None and isinstance(context.command, click.Group):
        rest = [*context._protected_args, *context.args]
        name, inner, rest = context.command.resolve_command(context, rest)
        assert inner is not None
        if words[0] == "run" and name == "run":
            check_study(rest)
        context = inner.make_context(name, list(rest), parent=context)


def check_study(rest: list[str]) -> None:
    known = all_studies([ROOT / "tests" / "plugin" / "studies"])
    names = [w for w in rest if not w.startswith("-")]
    if "--studies" in rest or "--all" in rest or not names or names[0].isupper():
        return
    overrides = [w for w in names[1:] if "=" in w]
    for study in names[0].split(","):
        assert study in known, f"no study {study!r}"
        plan(known[study], overrides=overrides)


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_links_lead_somewhere(path):
    targets = [t for t in LINK.findall(path.read_text()) if "://" not in t]
    missing = [t for t in targets if not (path.parent / t).exists()]
    assert not missing
