"""What a compressed file may become: a bounded multiple of its own size, so that eight megabytes never fill a memory."""

import zipfile
from pathlib import Path

import numpy as np

from digsite.base.errors import DigsiteError

FACTOR = (
    50  # weights compress by a tenth, masks by thirty; only what is made for it, or all zeros, by a thousand
)
ROOM = 64_000_000  # bytes that any file may become


def most_bytes(path: Path) -> int:
    """How many bytes the content of a compressed file may have."""
    return FACTOR * path.stat().st_size + ROOM


def refuse_bomb(path: Path) -> None:
    """Refuse an archive of arrays that unpacks to far more than it is, or whose entries promise other sizes than they have.

    Reading allocates what an entry's header promises before a byte of it is there.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        total, most = sum(entry.file_size for entry in entries), most_bytes(path)
        if total > most:
            raise DigsiteError(
                f"'{path}' would unpack to {total:,} bytes, {total // max(path.stat().st_size, 1)} times its size; at most "
                f"{most:,} are read.",
                hint="If this is meant, save it again without compression: numpy.savez.",
            )
        for entry in entries:
            if entry.filename.endswith(".npy"):
                _check_promise(path, archive, entry)


def _check_promise(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        promised, has = int(np.prod(shape, dtype=object)) * dtype.itemsize, entry.file_size - file.tell()
    if promised != has and not dtype.hasobject:
        raise DigsiteError(
            f"'{path}' is damaged: '{entry.filename}' promises {promised:,} bytes and has {has:,}."
        )
