"""Files by name and hash: from DIGSITE_DATA, the user cache, or a download checked before it is kept."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from digsite.base import settings
from digsite.base.errors import DigsiteError, NotFound
from digsite.base.settings import cache_dir

TIMEOUT_S = 30


@dataclass(frozen=True)
class Source:
    """One file that can be downloaded: its name, its hash, and where it lies."""

    file: str
    hash: str  # "sha256:..." or "md5:...": nothing is downloaded without one
    urls: tuple[str, ...]


def list_sources(urls: tuple[str, ...], method: str, *files: tuple[str, str]) -> tuple[Source, ...]:
    """Files that lie side by side: `urls` are the folders that hold all of them, `method` is how they were hashed
    (`sha256`, or `md5` where the publisher gives nothing else), `files` are names with their hashes."""
    return tuple(
        Source(name, f"{method}:{digest}", tuple(f"{url}/{name}" for url in urls)) for name, digest in files
    )


def locate_file(folder: str, source: Source) -> Path:
    """The local path of a file, downloaded into the cache if need be.

    `folder` is the data set's own, in DIGSITE_DATA and in the cache; `source` says how the file is known again.
    """
    if at_hand := find_file(folder, source.file):
        return at_hand
    wanted = f"'{folder}/{source.file}'"
    if settings.is_offline():
        raise NotFound(
            f"The file {wanted} is not on this machine and DIGSITE_OFFLINE is set.",
            hint=f"Unset DIGSITE_OFFLINE, or put the file into {_name_places(folder)}.",
        )
    return _download_file(folder, source)


def find_file(folder: str, file: str) -> Path | None:
    """The path of a file that is here already, in DIGSITE_DATA before the cache; None where it is in neither."""
    for root in _list_roots():
        if (path := root / folder / file).is_file():
            return path
    return None


def is_at_hand(name: str) -> bool:
    """Whether a file or folder of the data folder is here, so that nothing has to be downloaded for it."""
    return any((root / name).exists() for root in _list_roots())


def _list_roots() -> list[Path]:
    """The user's own folder comes first: what lies there is taken as it is."""
    cache = cache_dir() / "data"
    given = settings.data_dir()
    return [given, cache] if given else [cache]


def _name_places(folder: str) -> str:
    """For messages: every folder that was looked into."""
    return " or ".join(f"'{root / folder}'" for root in _list_roots())


def _list_urls(folder: str, source: Source) -> tuple[str, ...]:
    """A mirror replaces the published addresses, for machines that reach nothing else."""
    mirror = settings.data_mirror()
    return (f"{mirror}/{folder}/{source.file}",) if mirror else source.urls


def _download_file(folder: str, source: Source) -> Path:
    """From the first address that answers with the right bytes; what went wrong at each is said together."""
    target = cache_dir() / "data" / folder
    problems = []
    for url in _list_urls(folder, source):
        try:
            return _retrieve_url(url, source, target)
        except (OSError, ValueError) as error:  # requests raises OSErrors, pooch a ValueError for the hash
            problems.append(f"{url}: {_explain_failure(error)}")
    raise DigsiteError(
        f"The file '{folder}/{source.file}' could not be downloaded ({'; '.join(problems)}).",
        hint=f"Try again, or put the file into {_name_places(folder)}.",
    )


def _retrieve_url(url: str, source: Source, target: Path) -> Path:
    """pooch checks the hash before the file gets its name, so a broken download is never found later."""
    import pooch

    pooch.get_logger().setLevel("ERROR")
    target.mkdir(parents=True, exist_ok=True)
    with _Bar(f"{target.name}/{source.file}") as bar:
        downloader: Any = pooch.HTTPDownloader(progressbar=bar, timeout=TIMEOUT_S)
        # pooch writes to a temporary file and renames it after the hash agreed
        return Path(pooch.retrieve(url, source.hash, fname=source.file, path=target, downloader=downloader))


def _explain_failure(error: Exception) -> str:
    """The reason in words of a person; the exceptions' own are pages long."""
    from requests import exceptions

    if isinstance(error, ValueError) and "hash" in str(error):
        return "what arrived has another hash than the known one, so it was thrown away"
    if isinstance(error, exceptions.ChunkedEncodingError):
        return "the connection broke before the file was whole"
    if isinstance(error, exceptions.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, exceptions.Timeout):
        return f"no answer within {TIMEOUT_S} seconds"
    if isinstance(error, exceptions.ConnectionError):
        return "no connection"
    return str(error) or type(error).__name__


class _Bar:
    """A rich progress bar on standard error with the interface that pooch asks for."""

    def __init__(self, label: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task(label, total=None)
        self._total = 0

    def __enter__(self) -> Any:  # pooch's stub knows only of tqdm
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @property
    def total(self) -> int:
        return self._total

    @total.setter
    def total(self, n_bytes: int) -> None:
        self._total = n_bytes
        self._progress.update(self._task, total=n_bytes)

    def update(self, n_bytes: int) -> None:
        self._progress.advance(self._task, n_bytes)

    def reset(self) -> None:
        self._progress.update(self._task, completed=0)

    def close(self) -> None:
        """pooch closes the bar; the context manager does it here."""
