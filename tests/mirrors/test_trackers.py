"""Copies are read back over HTTP from the trackers' own servers, started here on loopback.

Weights & Biases has no server that could be started (its own is a closed image): what it writes offline is read in `test_follow.py`.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from urllib.parse import urlencode

import pytest

from digsite.base.errors import DigsiteError
from digsite.mirrors import follow_run
from digsite.mirrors.follow import COLUMNS
from digsite.mirrors.trackers import make_legal
from digsite.record.journal import read_series

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@contextmanager
def serving(module, *words, folder, sign):
    """`python -m MODULE WORDS --port P` until its page `sign` answers; ended with all of its processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log, address = folder / "server.log", f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", module, *map(str, words), "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder, start_new_session=True)
        try:
            wait_for_page(f"{address}{sign}", server, log)
            yield address
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)


def wait_for_page(address, server, log):
    for _ in range(600):
        assert server.poll() is None, log.read_text()
        try:
            return ask(address)
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"No answer from {address}: {log.read_text()}")


def ask(address, **body):
    """The documented HTTP interface, without the tracker's client."""
    data, head = (json.dumps(body).encode(), {"content-type": "application/json"}) if body else (None, {})
    with urllib.request.urlopen(urllib.request.Request(address, data, head), timeout=60) as answer:
        return answer.read().decode()


@pytest.fixture
def mlflow_server(tmp_path):
    """MLflow's tracking server with a database and a folder of files; it needs more than mlflow-skinny."""
    for package in ("mlflow", "flask", "sqlalchemy"):
        pytest.importorskip(package, reason="MLflow's server is not installed")
    places = (
        "--backend-store-uri",
        f"sqlite:///{tmp_path / 'served.db'}",
        "--artifacts-destination",
        tmp_path,
    )
    with serving("mlflow", "server", *places, "--workers", 1, folder=tmp_path, sign="/health") as address:
        yield address


def test_mlflow_tells_values_intervals_nulls_and_tags(
    finished, claimed, mlflow_server, tmp_path, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    monkeypatch.chdir(tmp_path)
    where, api = follow_run(finished, "mlflow", project="p"), f"{mlflow_server}/api/2.0/mlflow"
    (found,) = json.loads(ask(f"{api}/experiments/search", max_results=9, filter="name = 'p'"))["experiments"]
    (run,) = json.loads(ask(f"{api}/runs/search", experiment_ids=[found["experiment_id"]]))["runs"]
    about, data = run["info"], run["data"]
    assert where == f"{mlflow_server}/#/experiments/{found['experiment_id']}/runs/{about['run_id']}"
    told = {metric["key"]: metric["value"] for metric in data["metrics"]}
    assert {name: told[make_legal(name)] for name in claimed} == claimed
    tags = {tag["key"]: tag["value"] for tag in data["tags"]}
    assert tags["digsite.tag.good one"] == "true" and "starred" in tags["digsite.tags"]
    assert tags["mlflow.note.content"].endswith("So.") and about["status"] == "FINISHED"
    assert {"key": "steps", "value": "3"} in data["params"]
    table = ask(f"{mlflow_server}/get-artifact?path=claims.csv&run_uuid={about['run_id']}")
    assert table.splitlines()[0] == ",".join(COLUMNS)


def test_an_mlflow_server_that_is_not_there_is_one_sentence(finished, monkeypatch):
    """MLflow's own patience of seven tries is cut to none."""
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(DigsiteError, match="MLflow at 'http://127.0.0.1:9' did not take the run"):
        follow_run(finished, "mlflow", project="p")


def test_tensorboard_tells_values_intervals_nulls_and_tags(finished, claimed, tmp_path):
    for package in ("tensorboard", "tensorboardX"):
        pytest.importorskip(package)
    follow_run(finished, "tensorboard")
    words = ("--logdir", finished.path / "tensorboard", "--load_fast", "false")
    with serving("tensorboard.main", *words, folder=tmp_path, sign="/data/environment") as address:
        plugin = f"{address}/data/plugin"
        for _ in range(150):  # it reads the files a moment after it has begun to answer
            if tags := json.loads(ask(f"{plugin}/scalars/tags")).get("."):
                break
            time.sleep(0.2)

        def read_scalars(tag):
            return json.loads(ask(f"{plugin}/scalars/scalars?{urlencode({'run': '.', 'tag': tag})}"))

        values = [value for _, _, value in read_scalars("total")]
        assert values == pytest.approx(read_series(finished.journal)["total"][1], rel=1e-6)
        told = sorted(
            read_scalars(tag)[-1][2] for tag in tags if tag.partition("/")[0] in ("headline", "measurements")
        )
        assert told == pytest.approx(sorted(claimed.values()), rel=1e-6)
        listed = json.loads(ask(f"{plugin}/text/tags"))["."]
        texts = {tag: ask(f"{plugin}/text/text?{urlencode({'run': '.', 'tag': tag})}") for tag in listed}
        assert any("good one" in text and "starred" in text for text in texts.values())
