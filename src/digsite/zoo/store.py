"""Many networks in few files: `zoo.json` says which rows of which stacked safetensors shard are whose."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from digsite.base import atomic, settings
from digsite.base.errors import DigsiteError, NotFound, UsageError, name_nearest
from digsite.base.settings import cache_dir
from digsite.weights.bundle import WeightBundle

SCHEMA = 1
INDEX, TABLE, BEGUN = "zoo.json", "members.csv", "begun.json"


@dataclass(frozen=True)
class Architecture:
    """One shape of network: its config and where each tensor lies in a row of parameters."""

    model: dict[str, Any]
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    tied: dict[str, str]

    @classmethod
    def of(cls, module: nn.Module, config: dict[str, Any]) -> "Architecture":
        """The parameters of a module in their order; those it shares between two names are tied."""
        first: dict[int, str] = {}
        tied = {}
        for name, parameter in module.named_parameters(remove_duplicate=False):
            if first.setdefault(id(parameter), name) != name:
                tied[name] = first[id(parameter)]
        own = list(module.named_parameters())
        return cls(config, tuple(name for name, _ in own), tuple(tuple(p.shape) for _, p in own), tied)

    @property
    def width(self) -> int:
        return sum(prod(shape) for shape in self.shapes)

    def tensors(self, rows: Tensor) -> dict[str, Tensor]:
        """Views (..., *shape) of rows (..., width)."""
        parts = rows.split([prod(shape) for shape in self.shapes], dim=-1)
        return {
            n: part.unflatten(-1, s or (1,))
            for n, part, s in zip(self.names, parts, self.shapes, strict=True)
        }


@dataclass(frozen=True)
class Block:
    """Members first .. first + count - 1 have one architecture and lie in one shard."""

    shard: str
    architecture: int
    first: int
    count: int
    part: int = 0  # which of the shard's parts

    def key(self, step: int) -> str:
        return f"{self.part}@{step}"


@dataclass(frozen=True)
class Index:
    """What `zoo.json` says."""

    name: str
    steps: tuple[int, ...]
    architectures: tuple[Architecture, ...]
    blocks: tuple[Block, ...]
    recipe: dict[str, Any]

    @property
    def n(self) -> int:
        return sum(block.count for block in self.blocks)

    def block_of(self, member: int) -> Block:
        for block in self.blocks:
            if block.first <= member < block.first + block.count:
                return block
        raise NotFound(f"The zoo '{self.name}' has no member {member}: it has {self.n}, counted from 0.")


@dataclass(frozen=True)
class Part:
    """Members of one architecture on their way into a shard: rows (n, width) by step, and their table."""

    architecture: Architecture
    first: int
    rows: dict[int, Tensor]
    table: pd.DataFrame


@dataclass(frozen=True)
class ZooWriter:
    """Writes shards in any order and from any process; `finish` joins their tables and makes the folder a zoo."""

    folder: Path
    name: str
    steps: tuple[int, ...]
    recipe: dict[str, Any]

    def begin(self) -> None:
        """Pin the recipe; a folder that was begun with another one is refused."""
        self.folder.mkdir(parents=True, exist_ok=True)
        done = (self.folder / INDEX).is_file()
        begun = (
            read_index(self.folder).recipe if done else atomic.read_json_or(self.folder / BEGUN, {}) or None
        )
        now = json.loads(atomic.dump_json(self.recipe))
        if begun is not None and begun != now:
            changed = sorted(key for key in {*begun, *now} if begun.get(key) != now.get(key))
            raise UsageError(
                f"The zoo at '{self.folder}' was begun with another recipe: {', '.join(changed)} differ."
            )
        if not done:
            atomic.write_json(self.folder / BEGUN, now, fsync=True)

    def has(self, number: int) -> bool:
        """Whether the shard is complete: its description is written last, and a file that was cut is made again."""
        if (self.folder / INDEX).is_file():
            return True
        stem = self.folder / f"{number:05d}"
        if not atomic.read_json_or(stem.with_suffix(".json"), []) or not stem.with_suffix(".csv").is_file():
            return False
        try:
            with safe_open(stem.with_suffix(".safetensors"), framework="pt"):
                return True
        except (OSError, SafetensorError):
            return False

    def write(self, number: int, parts: Sequence[Part]) -> None:
        """Store one shard; blocks of one architecture must be in one part."""
        stem = f"{number:05d}"
        tensors = {f"{i}@{step}": rows for i, part in enumerate(parts) for step, rows in part.rows.items()}
        with atomic.replace_file(self.folder / f"{stem}.safetensors", fsync=True) as path:
            save_file(tensors, path)
        with atomic.replace_file(self.folder / f"{stem}.csv", fsync=True) as path:
            pd.concat([part.table for part in parts]).to_csv(path, index=False)
        described = [
            {"architecture": asdict(p.architecture), "first": p.first, "count": len(p.table)} for p in parts
        ]
        atomic.write_json(self.folder / f"{stem}.json", described, fsync=True)

    def finish(self, n_shards: int) -> Index:
        """Join the shards' tables and descriptions into one of each."""
        if (self.folder / INDEX).is_file():
            self._remove_leftovers()
            return read_index(self.folder)
        stems = [f"{number:05d}" for number in range(n_shards)]
        described = {stem: atomic.read_json(self.folder / f"{stem}.json") for stem in stems}
        kinds: dict[str, int] = {}
        blocks = []
        for stem, parts in described.items():
            for at, part in enumerate(parts):
                kind = kinds.setdefault(atomic.dump_json(part["architecture"]), len(kinds))
                blocks.append(Block(f"{stem}.safetensors", kind, part["first"], part["count"], at))
        index = Index(
            self.name,
            self.steps,
            tuple(_read_architecture(json.loads(k)) for k in kinds),
            tuple(blocks),
            self.recipe,
        )
        joined = _join_tables([self.folder / f"{stem}.csv" for stem in stems])
        atomic.write_text(self.folder / TABLE, joined, fsync=True)
        write_index(self.folder, index)
        self._remove_leftovers()
        return index

    def _remove_leftovers(self) -> None:
        """Remove what only an unfinished zoo needs; a kill may have come between the index and this."""
        begun = [*self.folder.glob("[0-9]*.csv"), *self.folder.glob("[0-9]*.json"), self.folder / BEGUN]
        for leftover in begun:
            leftover.unlink(missing_ok=True)


def _join_tables(tables: Sequence[Path]) -> str:
    """One table of several; where the columns agree, as is usual, without parsing a number."""
    texts = [path.read_text() for path in tables]
    heads = {text.partition("\n")[0] for text in texts}
    if len(heads) > 1:
        return pd.concat([pd.read_csv(path) for path in tables]).to_csv(index=False)
    return "".join([f"{heads.pop()}\n", *(text.partition("\n")[2] for text in texts)])


def _read_architecture(stored: dict[str, Any]) -> Architecture:
    return Architecture(
        stored["model"], tuple(stored["names"]), tuple(map(tuple, stored["shapes"])), stored["tied"]
    )


def write_index(folder: Path, index: Index) -> None:
    atomic.write_json(folder / INDEX, {"schema": SCHEMA, **asdict(index)}, fsync=True)


def read_index(folder: Path) -> Index:
    """The index of a complete zoo; a folder that is none, or lacks shards, is one sentence."""
    stored = atomic.read_json(folder / INDEX)
    if stored is None:
        raise NotFound(f"There is no zoo at '{folder}': it has no {INDEX}.", hint="List zoos: digsite zoo ls")
    try:
        return _index_of(folder, stored)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        message = f"'{folder / INDEX}' is damaged: it lacks or misnames {str(error)[:80]}."
        raise DigsiteError(message, hint="Make or import the zoo again.") from None


def _index_of(folder: Path, stored: dict[str, Any]) -> Index:
    schema = stored.pop("schema", None)
    if schema != SCHEMA:
        raise UsageError(f"The zoo at '{folder}' has schema {schema}, and this version reads {SCHEMA}.")
    index = Index(
        stored["name"],
        tuple(stored["steps"]),
        tuple(map(_read_architecture, stored["architectures"])),
        tuple(Block(**b) for b in stored["blocks"]),
        stored["recipe"],
    )
    files = sorted({block.shard for block in index.blocks})
    lost = [name for name in files if not (folder / name).is_file()]
    if lost:
        raise NotFound(
            f"The zoo at '{folder}' lacks {len(lost)} of its {len(files)} shards, the first is '{lost[0]}'."
        )
    return index


def read_rows(folder: Path, index: Index, block: Block, step: int | None = None) -> Tensor:
    """Parameters (count, width) of a block at a checkpoint, mapped from disk and not read before they are used."""
    step = index.steps[-1] if step is None else step
    if step not in index.steps:
        accepted = ", ".join(map(str, index.steps))
        raise UsageError(f"The zoo '{index.name}' has no checkpoint at step {step}. Accepted: {accepted}.")
    try:
        with safe_open(folder / block.shard, framework="pt") as shard:
            rows = shard.get_tensor(block.key(step))
    except (SafetensorError, OSError) as error:
        raise DigsiteError(f"The shard '{folder / block.shard}' cannot be read ({error}).") from None
    expected = (block.count, index.architectures[block.architecture].width)
    if tuple(rows.shape) != expected:
        raise DigsiteError(
            f"The shard '{folder / block.shard}' holds {tuple(rows.shape)} and not {expected}."
        )
    return rows


def read_member(folder: Path, index: Index, member: int, step: int | None = None) -> WeightBundle:
    """One network of a collection."""
    block = index.block_of(member)
    shape = index.architectures[block.architecture]
    row = read_rows(folder, index, block, step)[member - block.first]
    meta = {
        "zoo": index.name,
        "member": member,
        "step": index.steps[-1] if step is None else step,
        "model": shape.model,
    }
    return WeightBundle(shape.tensors(row), meta, dict(shape.tied))


def locate_zoo(name: str) -> Path:
    """A zoo by path, or the newest one that a run of the study `name` made."""
    path = Path(name).expanduser()
    if (path / INDEX).is_file():
        return path
    for candidate in (path / "zoo", path / "artifacts" / "zoo"):
        if (candidate / INDEX).is_file():
            return candidate
    if (imported_folder(name) / INDEX).is_file():
        return imported_folder(name)
    made = sorted((settings.runs_dir() / name).glob(f"*/artifacts/zoo/{INDEX}"))
    if not made:
        raise NotFound(
            f"There is no zoo '{name}'. {name_nearest(name, all_zoos())}".strip(),
            hint="List zoos: digsite zoo ls; what can be made: digsite list",
        )
    return made[-1].parent


def imported_folder(source: str) -> Path:
    """Where a collection that others made is kept in this form."""
    return cache_dir() / "zoos" / source


def all_zoos() -> dict[str, Path]:
    """Every zoo that has a name on this machine: imported ones, and the newest of each study."""
    zoos = {path.parent.name: path.parent for path in sorted(imported_folder("").glob(f"*/{INDEX}"))}
    made = sorted(settings.runs_dir().glob(f"*/*/artifacts/zoo/{INDEX}"))
    return zoos | {path.parents[3].name: path.parent for path in made}
