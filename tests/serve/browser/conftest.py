"""A real Chromium at a real server: runs made once by the command line, and a page that fails its test on any script error."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PLUGIN = Path(__file__).parents[2] / "plugin"


def digsite(*words, root):
    path = os.pathsep.join([str(PLUGIN), os.environ.get("PYTHONPATH", "")])
    return [sys.executable, "-m", "digsite", *map(str, words), "--runs", str(root)], {
        **os.environ,
        "PYTHONPATH": path,
    }


def start(*words, root, **options):
    command, env = digsite(*words, root=root)
    return subprocess.Popen(command, env=env, text=True, **options)


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """Runs of three rooms, a sweep and a zoo, all made by the command line."""
    root = tmp_path_factory.mktemp("browser") / "runs"
    studies = ("--studies", PLUGIN / "studies")
    jobs = [
        start("run", "tms_5-2,mlp-digits,lm_mlp", "--smoke", "--quiet", root=root),
        start(
            "run",
            "showcase",
            "--smoke",
            "--quiet",
            "mask_rows=1024",
            "mask_columns=2752",
            *studies,
            root=root,
        ),
        start(
            "sweep",
            "showcase",
            "lr=0.01,0.03",
            "seed=0..1",
            "steps=40",
            "--on",
            "local:1",
            *studies,
            root=root,
            stdout=subprocess.DEVNULL,
        ),
    ]
    assert [job.wait(250) for job in jobs] == [0, 0, 0]
    return root


@contextmanager
def serving(root, *words):
    """The address of a server over these runs."""
    server = start("serve", "--port", 0, *words, root=root, stdout=subprocess.PIPE, bufsize=1)
    assert server.stdout is not None
    address = re.search(r"http://[\d.:]+/", server.stdout.readline())
    assert address
    yield address[0].rstrip("/")
    server.terminate()
    server.communicate(timeout=20)


@pytest.fixture(scope="session")
def site(root):
    with serving(root) as address:
        yield address


@pytest.fixture
def writable(root, tmp_path):
    """A server that takes marks, over a copy of the runs: its folder and its address."""
    copy = shutil.copytree(root, tmp_path / "runs", symlinks=True)
    with serving(copy, "--write") as address:
        yield copy, address


@pytest.fixture(scope="session")
def chromium():
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, site):
    """Open a path; a script error, a refused resource or a foreign address fails the test at its end."""
    contexts, problems = [], []

    def go(path="/", at=site, **context):
        contexts.append(chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **context}))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "request", lambda r: None if r.url.startswith((at, "data:", "blob:")) else problems.append(r.url)
        )
        page.on("response", lambda r: problems.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        page.goto(at + path)
        return page

    yield go
    for context in contexts:
        context.close()
    assert not problems


@pytest.fixture
def start_digsite():
    """A command of the program in its own process; the studies of the tests are known to it."""

    def begin(*words, root, **options):
        return start(*words, "--studies", PLUGIN / "studies", root=root, **options)

    return begin


@pytest.fixture
def newest(root):
    """The address of a study's newest run that was started alone."""

    def address_of(study):
        return f"/runs/{study}/{max(p.name for p in (root / study).iterdir() if p.name.startswith('20'))}"

    return address_of
