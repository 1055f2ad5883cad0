"""Mirrors copy a finished or a running run, and are read back with their trackers' own readers."""

import importlib.util

import pytest

from digsite.base.errors import UsageError
from digsite.mirrors import follow, kinds
from digsite.runs.journal import series


class Recorder:
    def __init__(self):
        self.log, self.ended = [], None

    def values(self, step, values):
        self.log.append((step, dict(values)))

    def figure(self, name, path):
        self.log.append(("figure", name))

    def table(self, name, path):
        self.log.append(("table", name))

    def claims(self, values):
        self.log.append(("claims", dict(values)))

    def close(self, failed):
        self.ended = failed


@pytest.fixture
def finished(tmp_path):
    from digsite.runs import create
    from digsite.worker.execute import How, execute

    run = create(tmp_path, {"study": "countdown", "method": "countdown.countdown", "config": {"steps": 3}})
    assert execute(run, How(device="cpu", quiet=True)) == 0
    return run


@pytest.fixture
def recorder(monkeypatch):
    made = Recorder()
    module = type("Kind", (), {"open_mirror": staticmethod(lambda run, project: made)})
    monkeypatch.setattr("digsite.base.families.scan_one", lambda package, name: module)
    return made


def test_everything_is_copied_once(finished, recorder):
    follow(finished, "tensorboard")
    assert [entry[0] for entry in recorder.log] == [0, 1, 2, "claims"]
    assert recorder.ended is False
    recorder.log.clear()
    follow(finished, "tensorboard")
    assert [entry[0] for entry in recorder.log] == ["claims"]


def test_an_unknown_tracker_is_named(finished):
    assert {"wandb", "tensorboard", "mlflow"} <= set(kinds())
    with pytest.raises(UsageError, match="no mirror 'wandbb'.*Did you mean 'wandb'"):
        follow(finished, "wandbb")


def needs(module):
    return pytest.mark.skipif(not importlib.util.find_spec(module), reason=f"{module} is not installed")


@pytest.mark.slow
@needs("mlflow")
@pytest.mark.filterwarnings("ignore")
def test_mlflow_reads_back_what_was_copied(finished, tmp_path, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'store.db'}")
    monkeypatch.chdir(tmp_path)
    follow(finished, "mlflow", project="p")
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("p").experiment_id])
    history = client.get_metric_history(run.info.run_id, "total")
    assert [metric.value for metric in history] == pytest.approx(series(finished.journal)["total"][1])
    assert run.info.status == "FINISHED" and run.data.params["steps"] == "3"


@pytest.mark.slow
@needs("wandb")
@pytest.mark.filterwarnings("ignore")
def test_wandb_offline_files_open_with_its_own_reader(finished, monkeypatch):
    from wandb.proto import wandb_internal_pb2
    from wandb.sdk.internal.datastore import DataStore

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("DIGSITE_OFFLINE", "1")
    follow(finished, "wandb", project="p")
    (path,) = finished.path.glob("wandb/offline-run-*/*.wandb")
    store, totals = DataStore(), []
    store.open_for_scan(str(path))
    while (data := store.scan_data()) is not None:
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        totals += [
            float(item.value_json)
            for item in record.history.item
            if item.key == "total" or item.nested_key == ["total"]
        ]
    assert totals == pytest.approx(series(finished.journal)["total"][1])


@needs("tensorboardX")
@pytest.mark.filterwarnings("ignore")
def test_tensorboard_events_hold_every_value(finished):
    from tensorboardX.proto import event_pb2

    follow(finished, "tensorboard")
    (path,) = (finished.path / "tensorboard").glob("events.*")
    data, values, at = path.read_bytes(), [], 0
    while at < len(data):  # TFRecord framing: length, its checksum, the event, its checksum
        size = int.from_bytes(data[at : at + 8], "little")
        event = event_pb2.Event.FromString(data[at + 12 : at + 12 + size])
        values += [value.simple_value for value in event.summary.value if value.tag == "total"]
        at += 16 + size
    assert values == pytest.approx(series(finished.journal)["total"][1], rel=1e-6)
