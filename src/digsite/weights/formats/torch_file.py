"""Files of `torch.save`, read with `weights_only=True`: a pickle that would execute code is refused."""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from digsite.base.errors import DigsiteError
from digsite.weights.bundle import WeightBundle, untie

WRAPPERS = ("state_dict", "model_state_dict", "model", "weights", "params", "module")


def matches(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(4)
    return (head == b"PK\3\4" and path.suffix != ".npz") or (head[:1] == b"\x80" and head[1:2] <= b"\5")


def read(path: Path) -> WeightBundle:
    loaded = _load(path)
    state, inside = _state(loaded)
    if state is None:
        raise DigsiteError(
            f"'{path}' holds a {type(loaded).__name__} without named tensors, so it is not a state dict.",
            hint="Save it with torch.save(model.state_dict(), path).",
        )
    skipped = sorted(name for name, value in state.items() if not isinstance(value, Tensor))
    meta = {"format": "torch", "inside": inside, "skipped": skipped}
    return untie({name: value.detach() for name, value in state.items() if isinstance(value, Tensor)}, meta)


def _load(path: Path) -> Any:
    with path.open("rb") as file:
        zipped = file.read(2) == b"PK"
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped or None)
    except pickle.UnpicklingError as error:
        raise _refusal(path, zipped, str(error)) from None
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        raise DigsiteError(f"'{path}' is not a whole file of torch.save ({reason}).") from None


def _refusal(path: Path, zipped: bool, reason: str) -> DigsiteError:
    wanted = _globals(path, zipped) or re.findall(r"GLOBAL ([\w.]+)", reason)
    if not wanted:
        return DigsiteError(f"'{path}' is not a whole file of torch.save ({reason.partition(chr(10))[0]}).")
    return DigsiteError(
        f"'{path}' was not read: its pickle calls {', '.join(wanted[:3])}, and calling what a file names "
        "would let the file execute any code on this machine.",
        hint="Ask for safetensors, or save only tensors: torch.save(model.state_dict(), path).",
    )


def _globals(path: Path, zipped: bool) -> list[str]:
    if not zipped:
        return []
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except (RuntimeError, ValueError, KeyError, IndexError, pickle.UnpicklingError):
        return []  # damaged as well; the caller says so


def _state(loaded: Any) -> tuple[Mapping[str, Any] | None, str]:
    """The dict of tensors: the file's own, or inside one of the usual wrappers."""
    if not isinstance(loaded, Mapping):
        return None, ""
    for wrapper in WRAPPERS:
        inner = loaded.get(wrapper)
        if isinstance(inner, Mapping) and any(isinstance(v, Tensor) for v in inner.values()):
            return inner, wrapper
    return (loaded, "") if any(isinstance(v, Tensor) for v in loaded.values()) else (None, "")
