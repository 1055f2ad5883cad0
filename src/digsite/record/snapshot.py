"""The code of a sweep: copied when it is planned, so that every job runs the same whatever the checkout does next."""

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

from digsite.base import atomic
from digsite.base.errors import DigsiteError
from digsite.record import provenance

FOLDER, POINTER = "code", "code.json"


@dataclass(frozen=True)
class Package:
    """An importable package of a git checkout, with the files that git knows or would take."""

    name: str
    folder: Path
    files: tuple[str, ...]

    def contents(self) -> Iterator[tuple[str, bytes]]:
        for file in self.files:
            yield f"{self.name}/{file}", (self.folder / file).read_bytes()


def in_checkouts(names: Iterable[str]) -> list[Package]:
    """Those of the named packages that come from a checkout; an installed one does not change under a sweep."""
    return [package for name in sorted(set(names)) if (package := _find_package(name))]


def _find_package(name: str) -> Package | None:
    spec = find_spec(name)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    listed = folders and provenance.ask_git(Path(folders[0]), "ls-files", "-co", "--exclude-standard", "-z")
    if not listed:
        return None
    folder = Path(folders[0])
    files = tuple(sorted(file for file in set(listed.split("\0")) if (folder / file).is_file()))
    return Package(name, folder, files) if files else None


def pin_packages(sweep: Path, names: Iterable[str], *, renew: bool = False) -> bool:
    """Copy the packages into the sweep's folder once; False when it goes on with other code than today's."""
    packages = in_checkouts(names)
    if not packages:
        return True
    contents = [item for package in packages for item in package.contents()]
    fingerprint = _digest_files(contents)
    now = None if renew else _pinned_fingerprint(sweep)
    if now is None:
        _copy_packages(sweep / FOLDER / fingerprint, contents, packages)
        # Of two planners at once the later one may win: both copies are whole, and each job reads the pointer once.
        atomic.write_json(sweep / POINTER, {"schema": 1, "fingerprint": fingerprint})
        return True
    return now == fingerprint


def pinned_folder(sweep: Path) -> Path | None:
    """The folder that jobs of this sweep import from, if it has one."""
    fingerprint = _pinned_fingerprint(sweep)
    return sweep.absolute() / FOLDER / fingerprint if fingerprint else None


def _pinned_fingerprint(sweep: Path) -> str | None:
    raw = atomic.read_json(sweep / POINTER)
    if raw is None:
        return None
    name = raw.get("fingerprint") if isinstance(raw, dict) else None
    if not isinstance(name, str) or not name.isalnum():
        message = f"'{sweep / POINTER}' is damaged: it names no copy of the code."
        raise DigsiteError(message, hint="Take today's code: digsite sweep retry NAME --fresh-code")
    return name


def _digest_files(contents: Iterable[tuple[str, bytes]]) -> str:
    digest = blake2b(digest_size=8)
    for file, data in contents:
        digest.update(f"{file}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()


def _copy_packages(target: Path, contents: Iterable[tuple[str, bytes]], packages: Iterable[Package]) -> None:
    """Under another name first, so that a killed planner leaves no half of it behind the right one."""
    if target.exists():
        return
    temporary = target.with_name(f".{target.name}.{uuid4().hex}")
    for file, data in contents:
        path = temporary / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    records = {package.name: provenance.git_record(package.folder) for package in packages}
    (temporary / provenance.SNAPSHOT).write_text(json.dumps(records), errors="replace")
    try:
        temporary.rename(target)
    except OSError:  # another planner was first with the same files
        shutil.rmtree(temporary)
