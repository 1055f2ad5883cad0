"""The environment variables that digsite reads, all in one place; configs never come from here."""

import os
from pathlib import Path


def _flag(name: str) -> bool:
    return os.environ.get(name, "").lower() not in ("", "0", "false", "no")


def runs_dir() -> Path:
    """DIGSITE_HOME, or ./runs: visible, like everyone's `outputs/`."""
    return Path(os.environ.get("DIGSITE_HOME") or "runs")


def data_dir() -> Path | None:
    """DIGSITE_DATA: a folder that already holds the datasets."""
    chosen = os.environ.get("DIGSITE_DATA")
    return Path(chosen) if chosen else None


def mirror() -> str:
    """DIGSITE_MIRROR: the base address of a copy of the datasets, laid out like DIGSITE_DATA."""
    return os.environ.get("DIGSITE_MIRROR", "").rstrip("/")


def offline() -> bool:
    return _flag("DIGSITE_OFFLINE")


def device() -> str:
    """DIGSITE_DEVICE: cpu, cuda, cuda:1, or auto."""
    return os.environ.get("DIGSITE_DEVICE") or "auto"


def go_offline() -> None:
    """Tell the libraries of the field too, before they are imported: each has its own switch."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        os.environ[name] = "1"
    os.environ["WANDB_MODE"] = "offline"


def load_dotenv(path: Path) -> None:
    """Credentials from a `.env` file of KEY=value lines; what is in the environment already wins."""
    if not path.is_file():
        return
    for line in path.read_text().splitlines():
        key, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and key and not key.startswith("#"):
            os.environ.setdefault(key.strip(), value.strip().strip("'\""))
