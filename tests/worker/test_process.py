import pytest
import torch

from digsite.base.errors import UsageError
from digsite.record import create_run
from digsite.worker import methods
from digsite.worker.execute import Follower, How, SilentProgress, execute_run
from digsite.worker.process import StopRequest, World, from_environment, join_group, pick_device


def test_devices_that_are_not_there(monkeypatch):
    assert pick_device("cpu").type == "cpu"
    with pytest.raises(UsageError, match="'gpux' is not a device"):
        pick_device("gpux")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UsageError, match="has no CUDA"):
        pick_device("cuda")


# One process is a world of its own; of several, only the first writes (two real ones: tests/launch).

CPU = How(device="cpu", quiet=True)


def test_without_torchrun_a_process_is_alone():
    world = from_environment()
    assert world == World() and world.is_first
    assert world.agree_on(75) == 75 and world.agree_on(None) is None
    world.wait()
    with join_group(world, torch.device("cpu")):
        assert not torch.distributed.is_initialized()


def test_what_torchrun_says_is_read(monkeypatch):
    for name, value in (("RANK", "5"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    world = from_environment()
    assert world == World(5, 8, 1) and not world.is_first
    assert world.device(torch.device("cuda")) == torch.device("cuda", 1)
    assert world.device(torch.device("cuda", 3)) == torch.device("cuda", 3)
    assert world.device(torch.device("cpu")) == torch.device("cpu")


def test_a_method_that_does_not_share_work_runs_in_the_first_process_alone(tmp_path, monkeypatch):
    run = create_run(
        tmp_path, {"study": "countdown", "method": "countdown.countdown", "config": {"steps": 3}}
    )
    assert not methods.is_parallel("countdown.countdown")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert execute_run(run, CPU) == 0
    assert run.status().state == "planned"
    monkeypatch.setenv("RANK", "0")
    assert execute_run(run, CPU) == 0
    assert run.status().state == "finished"


def test_a_follower_writes_nothing(tmp_path):
    directory = create_run(
        tmp_path, {"study": "countdown", "method": "countdown.countdown", "config": {"steps": 3}}
    )
    before = {path: path.stat().st_mtime_ns for path in directory.path.rglob("*")}
    progress = SilentProgress(directory, quiet=True)
    run = Follower(
        directory,
        seed=0,
        device=torch.device("cpu"),
        progress=progress,
        request=StopRequest(),
        checkpoint_every_s=0,
    )
    run.begin()
    run.stage("work", 3)
    for step in run.steps(3, save=dict, load=lambda state: None):
        run.log(step, value=1.0)
    run.table("t", {"a": [1]}), run.tensors("x", {"w": torch.ones(1)}), run.json("y", {}), run.say("hello")
    run.claim("c", 1.0), run.verdict("Done."), run.view("v", "table", "t"), run.finish()
    progress.end("finished")
    assert {path: path.stat().st_mtime_ns for path in directory.path.rglob("*")} == before
