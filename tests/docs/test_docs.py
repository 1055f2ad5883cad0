"""The documentation is true: Python blocks run, commands parse down to their config keys, links lead somewhere.

Python blocks of one page share their names and a folder, so that a tutorial may build on itself. A block that is a
fragment and not a program says so with ```python fragment; one that is a file, with file=PATH, is written there.
"""

import contextlib
import io
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from digsite.base.errors import NotFound
from digsite.cli import cli as root_command
from digsite.studies import all_studies
from digsite.studies.plan import plan_run

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


def outputs(path: Path) -> list[str]:
    """What a page says is printed: `text output` blocks, and the lines below the commands of console blocks."""
    shown = []
    for kind, words, body in BLOCK.findall(path.read_text()):
        if kind == "text" and "output" in words:
            shown.append(body)
        if kind == "console":
            shown += [said for _, said in parted(body) if said]
    return shown


def parted(body: str) -> list[tuple[str, str]]:
    """Commands of a console block, each with what is shown below it."""
    found = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", body, re.M)
    return [(command, said) for command, said in found]


NUMBER = re.compile(r"[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?")
SLACK, LEAST = (
    0.05,
    2.0,
)  # another processor rounds otherwise; a page that says 41.18 where 7.06 is printed is caught


def same_output(shown: str, printed: str) -> bool:
    """Equal words in equal lines; numbers may differ a little, tiny ones in their exponent."""

    def close(one: str, other: str) -> bool:
        a, b = (float(text.replace(",", "")) for text in (one, other))
        if 0 < abs(a) < 1e-3 and 0 < abs(b) < 1e-3:
            return True
        return abs(a - b) <= SLACK * max(abs(a), abs(b)) + min(LEAST, SLACK * 40)

    pairs = [
        [re.sub(r"\s+", " ", line).strip() for line in text.strip().splitlines()] for text in (shown, printed)
    ]
    if len(pairs[0]) != len(pairs[1]):
        return False
    for one, other in zip(*pairs, strict=True):
        numbers = [NUMBER.findall(line) for line in (one, other)]
        words = [NUMBER.sub("#", line) for line in (one, other)]
        if words[0] != words[1] or not all(map(close, *numbers)):
            return False
    return True


def shown_and_printed(path: Path, cli) -> Iterator[tuple[str, str]]:
    """What the page shows and what is printed, block by block; Python blocks of a page share their names."""
    names: dict[str, object] = {"__name__": "__docs__"}
    said = ""
    for kind, words, body in BLOCK.findall(path.read_text()):
        if re.search("fragment|file=", words):
            continue
        if kind == "python":
            kept = io.StringIO()
            with contextlib.redirect_stdout(kept):
                exec(compile(body, page_id(path), "exec"), names)
            said = kept.getvalue()
        elif kind == "text":
            yield body, said
        elif kind == "console":
            for command, shown in parted(body):
                if shown:
                    code, said, err = cli(*shlex.split(command, comments=True)[1:])
                    assert code == 0, err
                    yield shown, said


@pytest.mark.parametrize("path", [p for p in PAGES if blocks(p, "python") or outputs(p)], ids=page_id)
def test_python_blocks_run_and_print_what_the_page_says(path, tmp_path, monkeypatch, cli):
    """With DIGSITE_DOCS=write the pages are rewritten with what was printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name, body in files(path).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(body)
    wrong = [(shown, said) for shown, said in shown_and_printed(path, cli) if not same_output(shown, said)]
    page = path.read_text()
    if wrong and os.environ.get("DIGSITE_DOCS") == "write":
        for shown, printed in wrong:
            page = page.replace(shown, printed)
        path.write_text(page)
    else:
        assert wrong == []


def test_a_page_that_shows_other_numbers_is_caught():
    """`docs/graft.md` once printed a gain of 41.18 where its commands gave 7.06."""
    assert not same_output("gain   41.18\n", "gain 7.06\n")
    assert not same_output("layer 0: step up\n", "layer 0: step up\nlayer 2: ramp down\n")
    assert not same_output("is_void  False\n", "is_void  True\n")
    assert same_output("gain   41.18\nq = 8.1e-41", "gain 41.3\nq = 2e-38\n")


def test_every_block_that_shows_output_is_compared():
    """Output is `text output` or stands below a command of a console block; nothing else may look like it."""
    for path in PAGES:
        text = BLOCK.sub("", path.read_text())
        shown = re.findall(r"^ {4}(?!digsite )\S.*", text, re.M)
        assert not shown, f"{page_id(path)}: an indented block is not compared: {shown[0]}"
        for kind, words, body in BLOCK.findall(path.read_text()):
            assert kind != "text" or "output" in words or "fragment" in words, page_id(path)
            if kind in ("bash", "sh"):
                assert "$ " not in body, page_id(path)


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
    named = [w for w in names[1:] if "=" in w]
    overrides = [re.sub(r"=(file:)?FOLDER$", f"=file:{ROOT}", w) for w in named]  # a model that is there
    for study in names[0].split(","):
        assert study in known, f"no study {study!r}"
        try:
            plan_run(known[study], overrides=overrides)
        except NotFound as error:  # every setting was read before the corpus was looked for
            assert "is not on this machine" in str(error)


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_links_lead_somewhere(path):
    targets = [t for t in LINK.findall(path.read_text()) if "://" not in t]
    missing = [t for t in targets if not (path.parent / t).exists()]
    assert not missing
