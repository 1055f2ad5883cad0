"""What digsite saves, with a card that says how it was made and what was found, on the Hugging Face hub and back.

A card is made from the saved file itself and from the run that it lies in, so that no number on it was typed by anybody.
Nothing is sent unless `push_saved`, a `push_to_hub` or `digsite push` is called.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import yaml

from digsite.base import atomic, errors, settings
from digsite.base.contract import public_method
from digsite.base.errors import DigsiteError, NotFound, UsageError
from digsite.base.settings import read_version
from digsite.base.stored import Damaged, read_json
from digsite.record.layout import RunDir
from digsite.record.provenance import read_provenance
from digsite.record.results import Claim, Results
from digsite.record.shown import read_claims

SENT = (".safetensors", ".json", ".jsonl", ".csv", ".txt", ".md", ".model", ".yaml")  # no pickle, no code
CARD, OURS = "README.md", "library_name: digsite"  # the page, and what stands in the head of one of ours
NUMBERS, DEPTH = 40, 5  # rows of a card's tables; folders above a file that may be its run


@dataclass(frozen=True)
class Card:
    """What stands on the page of something saved."""

    kind: str
    title: str
    method: Mapping[str, Any]  # how it was made: settings by name
    numbers: Mapping[str, Any]  # what was measured when it was saved
    claims: tuple[Claim, ...]  # of the run that it lies in, beside their nulls
    verdict: str
    command: str
    commit: str
    opens: str  # the line of Python that opens it again


@public_method()
def describe_saved(path: Path) -> Card:
    """The card of `path`, a saved file or folder: pruned, grafted or merged weights, masks, a decomposition, a reader, a zoo."""
    kind, title, method, numbers, opens = _facts_of(path)
    run = _run_around(path)
    results = read_claims(run) if run else None
    claims, verdict = ((), "") if not isinstance(results, Results) else (results.claims, results.verdict)
    origin = read_provenance(run.provenance) if run else None
    origin = origin if isinstance(origin, dict) else {}
    git = origin.get("git")
    asked = run.read_asked() if run else None
    question = asked.get("purpose", "") if isinstance(asked, dict) else ""
    words = [str(word) for word in origin.get("command", ())]
    return Card(
        kind,
        question or title,
        method,
        numbers,
        claims,
        verdict,
        " ".join(["digsite", *words[1:]]) if words else "",
        str(git.get("commit", ""))[:12] if isinstance(git, dict) else "",
        opens,
    )


@public_method()
def render_card(card: Card, repo_id: str) -> str:
    """The card as Markdown with the head that the hub reads; `repo_id`, or a path, is where it can be opened."""
    head = {"library_name": "digsite", "tags": ["digsite", card.kind.replace(" ", "-")]}
    base = card.method.get("model")
    if isinstance(base, str) and base.startswith("hub:"):
        head["base_model"] = base.removeprefix("hub:").partition("@")[0]
    lines = [f"---\n{yaml.safe_dump(head, sort_keys=False)}---", f"# {_one_line(card.title)}", ""]
    made = f"A {card.kind}, made with digsite {read_version()}"
    lines += [f"{made}{f' at commit {card.commit}' if card.commit else ''}.", ""]
    lines += [_one_line(card.verdict), ""] if card.verdict else []
    lines += ["## Open it", "", f"```python\n{card.opens.replace('REPO', repo_id)}\n```", ""]
    lines += _section("Method", _table(["setting", "value"], card.method.items()))
    lines += [f"Made by: `{_one_line(card.command)}`", ""] if card.command else []
    lines += _section("Numbers", _table(["what", "value"], card.numbers.items()))
    lines += _section("Claims beside their nulls", _claim_table(card.claims))
    if not any(not claim.is_measurement for claim in card.claims):
        lines += [
            "No null stands beside these numbers: they are measurements of this object and no claim.",
            "",
        ]
    return "\n".join(lines)


@public_method()
def write_card(path: Path) -> Path:
    """Write the card of the saved folder `path` into it, or of a file beside it; a card of somebody else is not replaced."""
    target = path / CARD if path.is_dir() else path.with_suffix(".md")
    if target.exists() and OURS not in target.read_text(errors="replace"):
        raise UsageError(f"'{target}' is somebody else's page and is not replaced.", hint="Move it away.")
    atomic.write_text(target, render_card(describe_saved(path), str(path)))
    return target


def _section(title: str, table: list[str]) -> list[str]:
    return [f"## {title}", "", *table, ""] if table else []


def _table(head: list[str], rows: Any) -> list[str]:
    body = [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in list(rows)[:NUMBERS]]
    return [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *body] if body else []


def _claim_table(claims: tuple[Claim, ...]) -> list[str]:
    def row(c: Claim) -> list[Any]:
        interval = "" if c.low is None or c.high is None else f"{c.low:.4g} to {c.high:.4g}"
        null = "" if c.null is None else f"{c.null:.4g}{f' ({c.null_is})' if c.null_is else ''}"
        return [
            c.say_value,
            "" if c.value is None else f"{c.value:.4g} {c.unit}".rstrip(),
            interval,
            c.n or "",
            null,
        ]

    return _table(["claim", "value", "interval", "n", "null"], map(row, claims))


def _cell(value: Any) -> str:
    return _one_line(f"{value:.6g}" if isinstance(value, float) else str(value)).replace("|", "\\|")[:300]


def _one_line(text: str) -> str:
    """Text of a record in one line of Markdown: no tag and no heading comes out of it."""
    return " ".join(str(text).split()).replace("<", "&lt;").replace("`", "'")


# What a saved thing is, told by what stands in it.

_WEIGHTS = (
    "from digsite.weights import fetch_saved, open_weights\n"
    'weights = open_weights(fetch_saved("REPO"))'
)  # REPO becomes the name under which it lies at the hub, or its path
Found = tuple[str, str, dict[str, Any], dict[str, Any], str]


def _facts_of(path: Path) -> Found:
    if path.is_dir():
        return _facts_of_folder(path)
    if not path.is_file():
        raise NotFound(f"There is nothing saved at '{path}'.")
    meta = _metadata(path)
    for key, tell in _BY_KEY.items():
        if key in meta:
            return tell(path, _parse(meta[key]))
    if meta.get("kind") == "digsite.masks":
        return _tell_masks(path, _parse(meta.get("provenance", "{}")))
    opens = _WEIGHTS
    return "model", path.stem, {}, {key: text for key, text in meta.items() if len(text) < 200}, opens


def _facts_of_folder(path: Path) -> Found:
    pruning = read_json(path / "pruning.json", kind=dict)
    if isinstance(pruning, dict):
        return _tell_pruned(path, pruning)
    index = read_json(path / "zoo.json", kind=dict)
    if isinstance(index, dict):
        count = sum(int(block.get("count", 0)) for block in index.get("blocks", []))
        numbers: dict[str, Any] = {"networks": count, "architectures": len(index.get("architectures", []))}
        numbers["checkpoints at step"] = ", ".join(map(str, index.get("steps", [])))
        opens = 'from digsite import Zoo\nzoo = Zoo.from_pretrained("REPO")'
        return "zoo", f"Zoo {index.get('name', path.name)}", _flat(index.get("recipe")), numbers, opens
    saved = sorted(path.glob("*.safetensors"))
    if len(saved) == 1:
        return _facts_of(saved[0])
    raise UsageError(
        f"'{path}' is nothing that digsite saves.",
        hint="Name a pruned model's folder, a zoo, or a .safetensors file of masks, a decomposition, a reader, a graft.",
    )


def _tell_decomposition(path: Path, about: dict[str, Any]) -> Found:
    opens = 'from digsite import Decomposition\nfound = Decomposition.from_pretrained("REPO")'
    numbers = {"modules": ", ".join(map(str, about.get("modules") or about.get("owners") or ()))}
    return "decomposition", "Parts of a network's weights", _flat(about.get("config")), numbers, opens


def _tell_reader(path: Path, about: dict[str, Any]) -> Found:
    card = about.get("card") if isinstance(about.get("card"), dict) else {}
    margins = about.get("margins") if isinstance(about.get("margins"), dict) else {}
    tasks = ", ".join(str(task.get("name")) for task in about.get("tasks", ()) if isinstance(task, dict))
    opens = 'from digsite.read import Reader\nreader = Reader.from_pretrained("REPO")'
    method = {"kind": about.get("kind"), "tasks": tasks, **_flat(card)}
    numbers = {f"margin of {task}": margin for task, margin in (margins or {}).items()}
    return "reader of weights", "A reader of trained networks", method, numbers, opens


def _tell_graft(path: Path, ledger: dict[str, Any]) -> Found:
    opens = _WEIGHTS
    return "grafted model", "A class moved between networks", {"method": ledger.get("method")}, ledger, opens


def _tell_masks(path: Path, provenance: dict[str, Any]) -> Found:
    opens = (
        "from digsite.prune.subjects.maskstore import read_masks\n"
        "from digsite.weights import fetch_saved\n"
        'masks = read_masks(fetch_saved("REPO"))'
    )
    return "pruning masks", "Which weights stay", _flat(provenance), {}, opens


def _tell_pruned(path: Path, summary: dict[str, Any]) -> Found:
    numbers: dict[str, Any] = {}
    for when in ("before", "after"):
        perplexity = summary.get(when)
        if isinstance(perplexity, dict) and "perplexity" in perplexity:
            numbers[f"perplexity {when}"] = perplexity["perplexity"]
    ledger = [row for row in summary.get("ledger") or () if isinstance(row, dict)]
    numbers |= {f"relative error of {row.get('name')}": row.get("relative_error") for row in ledger}
    opens = _WEIGHTS
    return "pruned model", "A pruned model", _flat(summary.get("provenance")), numbers, opens


_BY_KEY: dict[str, Callable[[Path, dict[str, Any]], Found]] = {
    "decomposition": _tell_decomposition,
    "digsite_reader": _tell_reader,
    "digsite.graft": _tell_graft,
}


def _metadata(path: Path) -> dict[str, str]:
    """The texts in the head of a safetensors file, without reading a tensor."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            head = json.loads(file.read(size)) if size < 50_000_000 else {}
    except (OSError, ValueError):
        raise UsageError(f"'{path}' is no safetensors file.") from None
    metadata = head.get("__metadata__", {}) if isinstance(head, dict) else {}
    return {str(key): str(text) for key, text in metadata.items()} if isinstance(metadata, dict) else {}


def _parse(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Settings by dotted path, as far as a card shows them."""
    flat: dict[str, Any] = {}
    for key, value in tree.items() if isinstance(tree, dict) else ():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat


def _run_around(path: Path) -> RunDir | None:
    """The run in whose folder something lies, when its launch file can be believed."""
    for folder in list(path.absolute().parents)[:DEPTH]:
        if (folder / "launch.yaml").is_file():
            run = RunDir(folder)
            return None if isinstance(run.read_asked(), Damaged) else run
    return None


# To the hub and back. `endpoint` is the hub's address where it is not the public one.


@public_method()
def push_saved(
    path: Path,
    repo_id: str,
    *,
    private: bool = True,
    token: str | None = None,
    endpoint: str | None = None,
    card: Card | None = None,
) -> str:
    """Send the saved `path` with its `card` to `repo_id`; returns the address. `private` unless told otherwise.

    Only data goes: safetensors, JSON, tables and texts, no pickle, no code, no link. `token` and `endpoint` are the hub's.
    """
    if settings.is_offline():
        raise UsageError("DIGSITE_OFFLINE is set, so nothing is sent.", hint="Unset it to push.")
    hub: Any = errors.require_package("huggingface_hub", extra="hub")
    text = render_card(card or describe_saved(path), repo_id)
    with TemporaryDirectory() as staged, _explain_hub(hub, repo_id):
        for file, name in _files_to_send(path):
            target = Path(staged, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        Path(staged, CARD).write_text(text, encoding="utf-8")
        api = hub.HfApi(endpoint=endpoint, token=token)
        repo = api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo_id, folder_path=staged, commit_message="digsite")
    return str(repo)


def _files_to_send(path: Path) -> Iterator[tuple[Path, str]]:
    if path.is_file():
        yield path, path.name
        return
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path)
        is_plain = file.is_file() and not file.is_symlink() and file.suffix in SENT
        if is_plain and not any(part.startswith(".") for part in name.parts) and str(name) != CARD:
            yield file, name.as_posix()


@public_method()
def fetch_saved(
    repo_id: str, *, revision: str | None = None, token: str | None = None, endpoint: str | None = None
) -> Path:
    """A local copy of `repo_id` (`revision`, `token`, `endpoint` as the hub has them): its folder, or its one file. A path is itself."""
    if Path(repo_id).exists():
        return _the_one_file(Path(repo_id))
    hub: Any = errors.require_package("huggingface_hub", extra="hub")
    wanted = [f"*{ending}" for ending in SENT]
    with _explain_hub(hub, repo_id):
        folder = hub.snapshot_download(
            repo_id,
            revision=revision,
            token=token,
            endpoint=endpoint,
            allow_patterns=wanted,
            local_files_only=settings.is_offline(),
        )
    return _the_one_file(Path(folder))


def _the_one_file(path: Path) -> Path:
    """A folder that holds one safetensors file and no index of its own stands for that file."""
    saved = sorted(path.glob("*.safetensors")) if path.is_dir() else []
    indexed = any((path / name).is_file() for name in ("zoo.json", "config.json", "pruning.json"))
    return saved[0] if len(saved) == 1 and not indexed else path


@contextmanager
def _explain_hub(hub: Any, repo_id: str) -> Iterator[None]:
    """Whatever a hub answers is one sentence."""
    try:  # `hub.errors` is looked up where there is an error: the library loads it late
        yield
    except DigsiteError:
        raise
    except hub.errors.LocalEntryNotFoundError:
        raise NotFound(f"'{repo_id}' is not in the local cache, and the hub does not answer.") from None
    except (hub.errors.RepositoryNotFoundError, hub.errors.RevisionNotFoundError):
        said = f"The hub has no '{repo_id}' that this machine may use."
        raise NotFound(said, hint="Sign in: hf auth login") from None
    except hub.errors.HFValidationError:
        raise UsageError(f"'{repo_id}' is no name of the hub: write owner/name.") from None
    except Exception as error:
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise DigsiteError(f"The hub refused '{repo_id}': {said}") from None


class OnHub:
    """For classes with `save(path)`: the two names by which the field opens and shares things.

    `SAVED_AS` is the file that `save` is asked for; `open_saved` opens what lies at a path.
    """

    SAVED_AS = "model.safetensors"

    @classmethod
    def open_saved(cls, path: Path) -> Self:
        raise NotImplementedError(f"{cls.__name__} does not say how it is opened")

    @classmethod
    def from_pretrained(
        cls,
        repo_id: str,
        *,
        revision: str | None = None,
        token: str | None = None,
        endpoint: str | None = None,
    ) -> Self:
        """From the hub (`owner/name`), from its local cache, or from a folder on this machine."""
        return cls.open_saved(fetch_saved(repo_id, revision=revision, token=token, endpoint=endpoint))

    def place_saved(self, folder: Path) -> Path:
        """Where it lies as files: saved into `folder`, unless it has files of its own."""
        path = folder / self.SAVED_AS
        self.save(path)  # pyright: ignore[reportAttributeAccessIssue]
        return path

    def push_to_hub(
        self, repo_id: str, *, private: bool = True, token: str | None = None, endpoint: str | None = None
    ) -> str:
        """Send it with its card to `repo_id` of the hub; private unless told otherwise. Returns the address."""
        with TemporaryDirectory() as folder:
            path = self.place_saved(Path(folder))
            return push_saved(path, repo_id, private=private, token=token, endpoint=endpoint)
