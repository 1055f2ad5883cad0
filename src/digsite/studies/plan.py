"""From a study and overrides to a run directory in state `planned`: everything that starts runs comes through here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from digsite.base.errors import UsageError, one_sentence
from digsite.config import resolve, yamlio
from digsite.config.model import Config, NamesData, NamesModel, list_marks
from digsite.config.overrides import find_path, leaf_paths
from digsite.config.resolve import Layers, current_method, current_settings
from digsite.record.layout import RunDir, create_run
from digsite.studies.find import Size, Study
from digsite.worker import methods


@dataclass(frozen=True)
class Plan:
    """A validated config, ready to become a run."""

    study: Study
    config: Config
    layers: Layers
    size: Size

    @property
    def tree(self) -> dict[str, Any]:
        """The config as plain data."""
        return resolve.dump_config(self.config)

    def given_paths(self) -> list[str]:
        """Settings that somebody set for this run: neither a default nor a value of the study."""
        ours = {"default", *self.study.origins}
        origins = {path: self.layers.find_origin(path) for path in leaf_paths(self.tree)}
        return [path for path, origin in origins.items() if origin not in ours]

    def stands_on(self) -> dict[str, Any]:
        """For a full run of a study that grows with the data folder: whether it has grown, and the sentence that says so.

        Nothing where somebody set what would have decided.
        """
        grows = self.study.at_hand
        given = set(self.given_paths())
        if self.size != "full" or grows is None or given & leaf_paths(grows.config).keys():
            return {}
        return {"at_hand": not grows.missing(), "stands_on": grows.sentence()}

    def launch(self) -> dict[str, Any]:
        """What gets pinned in the run directory."""
        study = self.study
        return self.stands_on() | {
            "study": study.name,
            "purpose": study.purpose,
            "method": study.method,
            "size": self.size,
            "config": self.tree,
        }


def plan_run(
    study: Study,
    *,
    size: Size = "full",
    config_file: Path | None = None,
    values: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
) -> Plan:
    """Defaults < study.yaml < --config FILE < values by dotted path < key.path=value."""
    model = methods.config_class(study.method)
    layers = study.layers(size, Layers(resolve.nested_defaults(model)))
    if config_file:
        layers.add(yamlio.load_yaml(config_file), str(config_file))
    layers.tree = current_settings(current_method(study.method), layers.tree)
    names = _Names(model, layers, study.room, f"config of '{study.name}'")
    layers.set({names.path(name): value for name, value in (values or {}).items()}, "sweep")
    layers.override([names.override(text) for text in overrides])
    planned = Plan(study, resolve.validate_config(model, layers.tree, what=names.what), layers, size)
    _refuse_missing(planned)
    return planned


def _refuse_missing(planned: Plan) -> None:
    """A model, text, zoo or image set that somebody names and that is not there is a slip, and no failed run to be resumed."""
    given = set(planned.given_paths())
    for path, reference, where in _list_named(planned.config):
        with one_sentence(
            f"Looking for what '{path}' names"
        ):  # a system refuses some names: too long, or no text
            _refuse_reference(reference, where, path in given)


def _refuse_reference(reference: str, where: NamesModel | NamesData, asked: bool) -> None:
    if isinstance(where, NamesData):
        if asked or where.always:
            where.refuse_missing(reference)
    elif asked and reference and reference not in where.words:
        from digsite.data.fetch import find_file
        from digsite.weights import refuse_missing

        if not (where.folder and find_file(f"{where.folder}/{reference}", "model.safetensors")):
            refuse_missing(reference)


def _list_named(config: Config, prefix: str = "") -> Iterator[tuple[str, str, NamesModel | NamesData]]:
    """Dotted path, reference and kind of every setting that names a model or data, also those of configs inside of this one."""
    for name, info in type(config).model_fields.items():
        value: Any = getattr(config, name)
        values = value if isinstance(value, list | tuple) else [value]
        for inner in values:
            if isinstance(inner, Config):
                yield from _list_named(inner, f"{prefix}{name}.")
        for where in list_marks(info):
            yield from ((f"{prefix}{name}", text, where) for text in values if isinstance(text, str))


class _Names:
    """Settings by their whole path, also where only its end was written."""

    def __init__(self, model: type[Config], layers: Layers, room: str, what: str) -> None:
        self.model, self.layers, self.room, self.what = model, layers, room, what

    def path(self, name: str) -> str:
        """A setting by the end of its path, where that is unique."""
        if name.partition(".")[0] in self.model.model_fields:
            return name  # the usual case, and the only one in which a new key can be meant
        return find_path(name, self.known, section=self.room, what=self.what)

    def override(self, text: str) -> str:
        """`key=value` or `~key` with the key written out."""
        if text.startswith("@"):
            return text
        sign, name = ("~", text[1:]) if text.startswith("~") else ("", text)
        name, equals, value = name.partition("=")
        return f"{sign}{self.path(name)}{equals}{value}" if equals or sign else text

    @cached_property
    def known(self) -> set[str]:
        """Every path of the config as it stands before these settings."""
        return set(
            leaf_paths(
                resolve.dump_config(resolve.validate_config(self.model, self.layers.tree, what=self.what))
            )
        )


def start_run(planned: Plan, root: Path, *, run_id: str | None = None, tags: Sequence[str] = ()) -> RunDir:
    """Tags are words for finding the run again; they are no part of the config."""
    launch, given = planned.launch(), planned.given_paths()
    more = {"tags": list(tags)} if tags else {}
    return create_run(root, {**launch, **more, **({"given": given} if given else {})}, run_id=run_id)


def refuse_changes(run: RunDir, overrides: Sequence[str]) -> None:
    """A resumed run keeps its config; say what would have changed."""
    launch = run.plan()
    model, what = methods.config_class(launch["method"]), f"config of '{launch['study']}'"
    pinned = resolve.dump_config(
        resolve.validate_config(
            model, current_settings(current_method(launch["method"]), launch["config"]), what=what
        )
    )
    layers = Layers(pinned)
    names = _Names(model, layers, launch["method"].partition(".")[0], what)
    layers.override([names.override(text) for text in overrides])
    changes = resolve.compare_trees(
        pinned, resolve.dump_config(resolve.validate_config(model, layers.tree, what=what))
    )
    if changes:
        listed = ", ".join(f"{path}: {old!r} -> {new!r}" for path, (old, new) in changes.items())
        raise UsageError(
            f"Run '{run.id}' was started with another config ({listed}) and a resumed run keeps its own.",
            hint=f"Start a new one: digsite run {launch['study']} {' '.join(overrides)}",
        )
