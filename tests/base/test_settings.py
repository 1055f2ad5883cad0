import os
from pathlib import Path

from digsite.base import settings


def test_environment_is_read_when_asked(monkeypatch):
    monkeypatch.setenv("DIGSITE_HOME", "/somewhere")
    assert settings.runs_dir() == Path("/somewhere")
    monkeypatch.delenv("DIGSITE_HOME")
    assert settings.runs_dir() == Path("runs")
    monkeypatch.setenv("DIGSITE_OFFLINE", "0")
    assert not settings.is_offline()
    monkeypatch.setenv("DIGSITE_OFFLINE", "1")
    assert settings.is_offline()


def test_offline_reaches_the_libraries_of_the_field(monkeypatch):
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "WANDB_MODE"):
        monkeypatch.setenv(name, "")
    settings.go_offline()
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert os.environ["WANDB_MODE"] == "offline"
