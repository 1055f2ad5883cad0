"""Rules of every test: one thread, no socket but loopback, a fixed seed, data when it is there."""

import os
import socket
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import jaxtyping
import pytest
import torch
from hypothesis import HealthCheck, settings

HERE = Path(__file__).parent
PLUGIN = HERE / "plugin"
sys.path.insert(0, str(PLUGIN))
sys.path.append(str(HERE))

# The shapes of the methods are checked in every test that calls them. Kernels are left out: numba compiles plain functions.
CHECKED = [
    f"digsite.{room}.core.{part.stem}"
    for room in ("read", "prune", "decompose", "track", "graft")
    for part in (HERE.parent / "src" / "digsite" / room / "core").iterdir()
    if part.stem not in ("kernels", "__init__", "__pycache__", "README")
]
jaxtyping.install_import_hook(CHECKED, "checked_shapes.check")

torch.set_num_threads(1)
# Derandomized: the same examples everywhere. No deadline: the machine may be busy.
settings.register_profile(
    "digsite", derandomize=True, deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("digsite")

_connect = socket.socket.connect
_LOOPBACK = ("127.", "::1", "localhost")


def _guarded_connect(self: socket.socket, address):
    if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(_LOOPBACK):
        raise AssertionError(f"a test tried to reach {address}")
    return _connect(self, address)


@pytest.fixture(autouse=True)
def _rules(monkeypatch, tmp_path):
    monkeypatch.setattr(socket.socket, "connect", _guarded_connect)
    monkeypatch.setenv("DIGSITE_HOME", str(tmp_path / "runs"))
    monkeypatch.setenv("DIGSITE_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    torch.set_flush_denormal(False)  # a run executed in this process turns it on, and hypothesis notices


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real data and trained networks, kept outside of the project."""
    for candidate in (os.environ.get("DIGSITE_DATA"), HERE.parents[1] / "shared" / "data"):
        if candidate and Path(candidate).is_dir():
            return Path(candidate)
    pytest.skip("no real data here: set DIGSITE_DATA")


@pytest.fixture
def plugin_env() -> dict[str, str]:
    """The environment in which a child process finds the test plugin."""
    path = os.pathsep.join([str(PLUGIN), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path}


@pytest.fixture
def plugin_studies() -> Path:
    return PLUGIN / "studies"


@pytest.fixture
def cli(capfd):
    """Call the command line in this process: (exit code, stdout, stderr)."""
    from digsite.cli import main

    def call(*words: object) -> tuple[int, str, str]:
        argv, sys.argv = sys.argv, ["digsite", *map(str, words)]
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        finally:
            sys.argv = argv
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return call


def run_smoke(study_name: str, root: Path, *overrides: str):
    """Execute a study's smoke in this process and return its RunDir."""
    from digsite.studies import find_study
    from digsite.studies.plan import plan_run, start_run
    from digsite.worker.execute import How, execute_run

    run = start_run(plan_run(find_study(study_name), size="smoke", overrides=overrides), root)
    code = execute_run(run, How(device="cpu", quiet=True))
    assert code == 0, run.error.read_text() if run.error.exists() else code
    return run


@pytest.fixture
def smoke(tmp_path):
    return lambda name, *overrides: run_smoke(name, tmp_path / "runs", *overrides)


@pytest.fixture(scope="session")
def transformers():
    """The library, quiet: what it prints is not what is tested here."""
    found = pytest.importorskip("transformers")
    found.logging.set_verbosity_error()
    found.logging.disable_progress_bar()
    return found


@pytest.fixture(scope="session")
def family_folders(tmp_path_factory, transformers):
    """A folder of a tiny network of every family that people bring, as its own library saves it."""
    from model_families import FAMILIES, write_family

    root = tmp_path_factory.mktemp("families")
    return {family: write_family(root / family, family, transformers) for family in FAMILIES}
