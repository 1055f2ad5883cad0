"""Files of `torch.save`, read with `weights_only=True`: a pickle that would execute code is refused.

A pickle is a program, and loading one is running it. torch's own restricted reader is used, and what it refuses
is named here by reading the instructions without following them, so that the user learns which class the file
wanted.
"""

import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from digsite.base.errors import DigsiteError
from digsite.weights.bundle import WeightBundle, mark_unread, untie_tensors
from digsite.weights.formats import Format
from digsite.weights.formats.arrays import limit_bytes

WRAPPERS = ("state_dict", "model_state_dict", "model", "weights", "params", "module", "net", "network", "ema")
OTHERS = ("optim", "scheduler", "scaler", "rng")  # parts of a checkpoint that hold tensors and no weights
DEEPEST = 6
N_PICKLES = 4  # an older file of torch.save is a magic number, a version, the system, and then the object
HARMLESS = re.compile(r"torch\._utils\.|torch\.\w+Storage$|collections\.OrderedDict$")


# Settings that trainers store beside weights. Their classes are not imported: each stands for an empty one that keeps what
# it is given, and the types that they name for nothing.
SETTINGS = (
    *(f"omegaconf.{name}" for name in ("dictconfig.DictConfig", "listconfig.ListConfig")),
    *(f"omegaconf.base.{name}" for name in ("ContainerMetadata", "Metadata")),
    *(f"omegaconf.nodes.{name}Node" for name in ("Any", "String", "Integer", "Float", "Boolean")),
    *(f"builtins.{name}" for name in ("int", "float", "str", "bool", "dict", "list")),
    "typing.Any",
    "collections.defaultdict",
)


class Inert:
    """What a stored setting becomes: an object that does nothing, whose state is what the file says."""

    def __init__(self, *_: Any) -> None:
        """Whatever the real class would have made of its arguments."""


def plain_setting(value: Any, depth: int = DEEPEST) -> Any:
    """A stored setting as dicts, lists, numbers and texts; None for what is none of these, or lies deeper."""
    if isinstance(value, Inert):
        value = value.__dict__.get("_content", value.__dict__.get("_val"))
    if isinstance(value, Mapping):
        return {str(key): plain_setting(inner, depth - 1) for key, inner in value.items()} if depth else None
    if isinstance(value, list | tuple):
        return [plain_setting(inner, depth - 1) for inner in value] if depth else None
    return value if isinstance(value, str | int | float | bool) else None


class TorchFile(Format):
    """Files of `torch.save`: a pickle that would execute code is refused."""

    @staticmethod
    def fits_content(path: Path) -> bool:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(4)
        return (head == b"PK\3\4" and path.suffix not in (".npz", ".keras")) or (
            head[:1] == b"\x80" and head[1:2] <= b"\5"
        )

    @staticmethod
    def read_path(path: Path) -> WeightBundle:
        """A state dict, a checkpoint with one inside, a bare tensor, or a list of tensors."""
        loaded = load_safely(path)
        state, inside = _find_state(loaded, path.stem)
        if state is None:
            raise DigsiteError(
                f"'{path}' holds a {type(loaded).__name__} without named tensors, so it is not a state dict.",
                hint="Save it with torch.save(model.state_dict(), path).",
            )
        tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
        _refuse_empty_promises(path, tensors)
        tensors = {n: t.dequantize() if t.is_quantized else t for n, t in tensors.items()}
        tensors = {n: t.to_dense() if t.layout is not torch.strided else t for n, t in tensors.items()}
        left = {
            n: mark_unread(f"a {type(v).__name__}") for n, v in state.items() if not isinstance(v, Tensor)
        }
        meta = {"format": "torch", "inside": inside, "skipped": sorted(left), "unread": left}
        return untie_tensors({name: value.detach() for name, value in tensors.items()}, meta)


def _refuse_empty_promises(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A stored number may stand for any number of entries, by strides of zero or as a sparse table, and be copied as all of them."""
    if hollow := next((name for name, value in tensors.items() if value.is_meta), None):
        raise DigsiteError(f"'{path}' holds no values of '{hollow}': it was saved from the device 'meta'.")
    promised, most = (
        sum(value.numel() * value.element_size() for value in tensors.values()),
        limit_bytes(path),
    )
    if promised > most:
        raise DigsiteError(
            f"'{path}' has {path.stat().st_size:,} bytes and promises tensors of {promised:,}; at most {most:,} are read.",
            hint="Save them dense: torch.save({name: tensor.contiguous()}, path).",
        )


def load_safely(path: Path) -> Any:
    """The object in the file, mapped where it is a zip: tensors cost memory only when they are used."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"PK"
    if zipped and _is_program(path):
        raise DigsiteError(
            f"'{path}' is a TorchScript archive: its weights come with a program, and loading it would load the program.",
            hint="Save the weights alone: torch.save(torch.jit.load(path).state_dict(), new_path).",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what PyTorch warns of here becomes an error of ours below
            with torch.serialization.safe_globals([(Inert, name) for name in SETTINGS]):
                return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped or None)
    except pickle.UnpicklingError as error:
        raise _explain_refusal(path, zipped, str(error)) from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise DigsiteError(f"'{path}' is not a whole file of torch.save ({reason}).") from None


def _is_program(path: Path) -> bool:
    """TorchScript: code of the network beside its constants."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = [name.split("/", 1)[-1] for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError, ValueError):
        return False
    return "constants.pkl" in parts and any(part.startswith("code/") for part in parts)


def _explain_refusal(path: Path, zipped: bool, reason: str) -> DigsiteError:
    """Damaged or dangerous? A file that imports nothing but torch's own was only cut short."""
    wanted = _list_zip_globals(path) if zipped else _list_pickle_globals(path)
    if not wanted:
        return DigsiteError(f"'{path}' is not a whole file of torch.save ({reason.partition(chr(10))[0]}).")
    return DigsiteError(
        f"'{path}' was not read: its pickle calls {', '.join(wanted[:3])}, and calling what a file names "
        "would let the file execute any code on this machine.",
        hint="Ask for safetensors, or save only tensors: torch.save(model.state_dict(), path).",
    )


def _list_zip_globals(path: Path) -> list[str]:
    """Names that a zip of torch.save would import and that are not known to be harmless."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except (RuntimeError, ValueError, KeyError, IndexError, OSError, pickle.UnpicklingError):
        return []  # damaged as well; the caller says so


def _list_pickle_globals(path: Path) -> list[str]:
    """What a pickle would import, by reading its instructions without following them."""
    names: set[str] = set()
    with path.open("rb") as file:
        try:
            for _ in range(N_PICKLES):
                names |= _list_imports(file)
        except ValueError:
            pass  # the end of the file, or of what is readable in it
    return sorted(name for name in names if not HARMLESS.match(name))


def _list_imports(file: BinaryIO) -> set[str]:
    """The modules and names of one pickle."""
    imports, texts = set(), ["", ""]
    for instruction, argument, _ in pickletools.genops(file):
        if instruction.name in ("GLOBAL", "INST"):
            imports.add(str(argument).replace(" ", "."))
        elif instruction.name == "STACK_GLOBAL":
            imports.add(".".join(texts[-2:]))
        elif isinstance(argument, str):
            texts.append(argument)
    return imports


def _find_state(loaded: Any, stem: str) -> tuple[Mapping[str, Any] | None, str]:
    """The dict of tensors: the file's own, or inside one of the usual wrappers; a bare tensor by the file's name."""
    if isinstance(loaded, Tensor):
        return {stem: loaded}, ""
    if isinstance(loaded, list | tuple) and any(isinstance(value, Tensor) for value in loaded):
        return {f"{stem}.{i}": value for i, value in enumerate(loaded)}, ""
    if not isinstance(loaded, Mapping):
        return None, ""
    for wrapper in WRAPPERS:
        inner = loaded.get(wrapper)
        if isinstance(inner, Mapping) and any(isinstance(v, Tensor) for v in inner.values()):
            return inner, wrapper
    if any(isinstance(v, Tensor) for v in loaded.values()):
        return {str(name): value for name, value in loaded.items()}, ""
    nested = dict(_walk_nested(loaded, "", DEEPEST))
    return (nested, "nested dicts") if nested else (None, "")


def _walk_nested(loaded: Mapping[Any, Any], prefix: str, depth: int) -> Iterator[tuple[str, Tensor]]:
    """Tensors of dicts inside dicts, by dotted names; the optimizer's are none of the network's."""
    for key, value in loaded.items():
        name = f"{prefix}{key}"
        if isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, Mapping) and depth and not any(word in name.lower() for word in OTHERS):
            yield from _walk_nested(value, f"{name}.", depth - 1)
