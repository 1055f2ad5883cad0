"""Mirrors copy a finished or a running run, and are read back with their trackers' own readers."""

import importlib.util
import json
import os
import sys
import time
from pathlib import Path

import pytest

from digsite.base.errors import MissingExtra, UsageError
from digsite.mirrors import follow_run, list_trackers, refuse_tracker
from digsite.mirrors.follow import claim_numbers
from digsite.mirrors.trackers import make_legal
from digsite.record.journal import read_series
from digsite.record.results import Claim, Results


class Recorder:
    """A tracker that keeps what it is told."""

    NEEDS = ("", "")

    def __init__(self):
        self.log, self.ended = [], None

    def log_values(self, step, values):
        self.log.append((step, dict(values)))

    def add_figure(self, name, path):
        self.log.append(("figure", name))

    def add_table(self, name, path):
        self.log.append(("table", name))

    def add_claims(self, results):
        self.log.append(("claims", claim_numbers(results)))

    def add_answer(self, question, verdict, hero):
        self.log.append(("answer", verdict))

    def close_run(self, failed):
        self.ended = failed

    def say_where(self):
        return "here"


@pytest.fixture
def recorder(monkeypatch):
    made = Recorder()
    kind = type("Kind", (), {"NEEDS": ("", ""), "__new__": lambda cls, run, project: made})
    monkeypatch.setattr("digsite.base.families.scan_member", lambda package, name: kind)
    return made


def test_everything_is_copied_once(finished, recorder):
    follow_run(finished, "tensorboard")
    assert [entry[0] for entry in recorder.log] == [0, 1, 2, "claims", "answer"]
    assert recorder.ended is False
    recorder.log.clear()
    follow_run(finished, "tensorboard")
    assert [entry[0] for entry in recorder.log] == ["claims", "answer"]


def test_an_unknown_tracker_is_named(finished):
    assert {"wandb", "tensorboard", "mlflow"} <= set(list_trackers())
    with pytest.raises(UsageError, match="no mirror 'wandbb'.*Did you mean 'wandb'"):
        follow_run(finished, "wandbb")


def test_a_tracker_that_is_not_installed_is_refused_before_the_run(monkeypatch):
    """Once `run --mirror wandb` ended with 0 and had copied nothing."""
    monkeypatch.setattr(sys.modules["digsite.mirrors.follow"], "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="'wandb', which is not installed.*digsite\\[wandb\\]"):
        refuse_tracker("wandb")


def test_credentials_come_from_a_file_and_the_environment_wins(finished, recorder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_ENTITY", "mine")
    monkeypatch.setenv("WANDB_API_KEY", "")
    monkeypatch.delenv("WANDB_API_KEY")
    lines = ["# a comment", "export WANDB_API_KEY='a = b # c'  # the account", "WANDB_ENTITY=theirs"]
    Path(".env").write_text("\n".join(lines))
    follow_run(finished, "tensorboard")
    assert (os.environ["WANDB_API_KEY"], os.environ["WANDB_ENTITY"]) == ("a = b # c", "mine")
    Path(".env").write_bytes(b"\xff\xfe\0")
    with pytest.raises(UsageError, match="The file '.env' cannot be read"):
        follow_run(finished, "tensorboard")


def test_the_copy_says_where_it_is(finished, recorder):
    assert follow_run(finished, "tensorboard") == "here"


def test_names_are_made_legal_for_mlflow():
    assert make_legal("claims/cosine(Ŵ, W)=1") == "claims/cosine__, W__1".replace(",", "_")


def test_headline_claims_and_measurements_are_told_apart():
    claims = (Claim("a", 0.9, 0.8, 1.0, 5, 0.5), Claim("b", 0.7, 0.6, 0.8, 5, 0.5), Claim("c", 3.0))
    assert claim_numbers(Results("s", "So.", claims, headline=("a",))) == {
        "headline/a": 0.9,
        "headline/a/low": 0.8,
        "headline/a/high": 1.0,
        "headline/a/null": 0.5,
        "claims/b": 0.7,
        "claims/b/low": 0.6,
        "claims/b/high": 0.8,
        "claims/b/null": 0.5,
        "measurements/c": 3.0,
    }


def needs(module):
    return pytest.mark.skipif(not importlib.util.find_spec(module), reason=f"{module} is not installed")


@pytest.mark.slow
@needs("mlflow")
@pytest.mark.filterwarnings("ignore")
def test_mlflow_reads_back_what_was_copied(finished, tmp_path, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'store.db'}")
    monkeypatch.chdir(tmp_path)
    follow_run(finished, "mlflow", project="p")
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("p").experiment_id])
    history = client.get_metric_history(run.info.run_id, "total")
    assert [metric.value for metric in history] == pytest.approx(read_series(finished.journal)["total"][1])
    assert run.info.status == "FINISHED" and run.data.params["steps"] == "3"


@pytest.mark.slow
@needs("mlflow")
@pytest.mark.filterwarnings("ignore")
def test_mlflow_has_interval_null_and_tags_under_legal_names(finished, claimed, tmp_path, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'store.db'}")
    monkeypatch.chdir(tmp_path)
    where = follow_run(finished, "mlflow", project="p")
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("p").experiment_id])
    assert run.info.run_id in where
    assert {name: run.data.metrics[make_legal(name)] for name in claimed} == claimed
    assert run.data.tags["digsite.tag.good one"] == "true" and "starred" in run.data.tags["digsite.tags"]


@pytest.mark.slow
@needs("wandb")
@pytest.mark.filterwarnings("ignore")
def test_wandb_offline_files_hold_every_value(finished, monkeypatch):
    """The records are decoded with W&B's own protocol classes; 0.31 has no Python reader of the file around them."""
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("DIGSITE_OFFLINE", "1")
    follow_run(finished, "wandb", project="p")
    (path,) = finished.path.glob("wandb/offline-run-*/*.wandb")
    for _ in range(100):  # W&B's own process writes the file, a moment after `finish` has returned
        records = [Record.FromString(data) for data in leveldb_records(path.read_bytes())]
        if any(record.HasField("exit") for record in records):
            break
        time.sleep(0.1)
    items = [item for r in records for item in r.history.item if "total" in (item.key, *item.nested_key)]
    assert [float(item.value_json) for item in items] == pytest.approx(
        read_series(finished.journal)["total"][1]
    )


@pytest.mark.slow
@needs("wandb")
@pytest.mark.filterwarnings("ignore")
def test_wandb_offline_files_hold_interval_null_and_tags(finished, claimed, monkeypatch):
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("DIGSITE_OFFLINE", "1")
    assert "wandb sync" in follow_run(finished, "wandb", project="p")
    (path,) = finished.path.glob("wandb/offline-run-*/*.wandb")
    for _ in range(300):
        records = [Record.FromString(data) for data in leveldb_records(path.read_bytes())]
        if any(record.HasField("exit") for record in records):
            break
        time.sleep(0.1)
    told = {}
    for item in (item for record in records for item in record.summary.update):
        told[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
    assert {name: told[name] for name in claimed} == claimed
    assert told["verdict"] == "So."
    tags = {tag for record in records if record.HasField("run") for tag in record.run.tags}
    assert {"countdown", "good one", "starred"} <= tags


def leveldb_records(data: bytes, header: int = 7, block: int = 32768):
    """LevelDB's log: blocks of records, each with checksum, length and whether it is whole, first, middle or last."""
    at, parts = header, b""
    while at + 7 <= len(data):
        if block - at % block < 7:
            at += block - at % block
            continue
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        parts += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):
            yield parts
            parts = b""


@needs("tensorboardX")
@pytest.mark.filterwarnings("ignore")
def test_tensorboard_events_hold_every_value(finished):
    from tensorboardX.proto import event_pb2

    follow_run(finished, "tensorboard")
    (path,) = (finished.path / "tensorboard").glob("events.*")
    data, values, at = path.read_bytes(), [], 0
    while at < len(data):  # TFRecord framing: length, its checksum, the event, its checksum
        size = int.from_bytes(data[at : at + 8], "little")
        event = event_pb2.Event.FromString(data[at + 12 : at + 12 + size])
        values += [value.simple_value for value in event.summary.value if value.tag == "total"]
        at += 16 + size
    assert values == pytest.approx(read_series(finished.journal)["total"][1], rel=1e-6)


@needs("tensorboardX")
@pytest.mark.filterwarnings("ignore")
def test_tensorboard_events_hold_interval_null_and_tags(finished, claimed):
    assert "tensorboard --logdir" in follow_run(finished, "tensorboard")
    (path,) = (finished.path / "tensorboard").glob("events.*")
    values = [value for event in read_events(path) for value in event.summary.value]
    numbers = {value.tag: value.simple_value for value in values if value.HasField("simple_value")}
    assert len(claimed) == 5
    # TensorBoard's writer makes names of tags legal in its own way: compare the values by their ends
    for name, number in claimed.items():
        ends = [v for tag, v in numbers.items() if tag.rpartition("/")[2] == name.rpartition("/")[2]]
        assert pytest.approx(number, rel=1e-6) in (ends or list(numbers.values())), name
    texts = [text.decode() for value in values for text in value.tensor.string_val]
    assert any("good one" in text and "starred" in text for text in texts)
    assert any("| Share |" in text and "0.5" in text for text in texts)


def read_events(path):
    """TFRecord framing: length, its checksum, the event, its checksum."""
    from tensorboardX.proto import event_pb2

    data, at = path.read_bytes(), 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 8], "little")
        yield event_pb2.Event.FromString(data[at + 12 : at + 12 + size])
        at += 16 + size
