"""Who sits the exam: each class is one contestant; it gets a program and a seed and hands in an Entry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from inspect import signature
from typing import Any, cast

import torch
from torch import Tensor

from digsite.base.errors import UsageError, name_nearest, one_sentence
from digsite.base.families import list_members, scan_member
from digsite.decompose.core.decomposition import Decomposition
from digsite.decompose.core.fit import Fit, Problem
from digsite.decompose.core.guarding import train_fit
from digsite.decompose.core.recipes import choose_config
from digsite.decompose.judge.exam import Entry, Importances, entry_from_parts
from digsite.decompose.subjects.compiled import CompiledProgram
from digsite.decompose.subjects.inputs import make_sampler
from digsite.weights.sources.local import find_object

PACKAGE = "digsite.decompose.judge.contestants"


class Contestant(ABC):
    """One who sits the exam: a function of a program; no object is ever made of it."""

    @staticmethod
    @abstractmethod
    def enter_exam(program: CompiledProgram, seed: int, steps: int) -> Entry:
        """What it makes of the program; `seed` is for what it draws, `steps` the length of training for those that
        train, and 0 lets a recipe use its own."""


Member = Contestant


def enter_contestant(name: str, program: CompiledProgram, seed: int, steps: int) -> Entry:
    """The entry of a contestant by name, or of a stranger's function `py:module:function`."""
    if name.startswith("py:"):
        return _enter_stranger(name, program, seed)
    if name not in list_members(PACKAGE):
        raise UsageError(
            f"'{name}' is not a contestant. {name_nearest(name, list_members(PACKAGE))}",
            hint="Or py:module:function.",
        )
    return scan_member(PACKAGE, name).enter_exam(program, seed, steps)


def train_entry(program: CompiledProgram, seed: int, settings: dict[str, Any], recipe: str = "auto") -> Entry:
    """What `decompose(model, sites, data=..., recipe=..., **settings)` makes of a program."""
    sample = make_sampler(program.batches(program.rows), program.rows)
    look = sample(torch.Generator().manual_seed(0))
    config = choose_config(program.model, look, settings, recipe=recipe)
    fit = Fit(Problem([program.model], program.sites, sample), config, [seed])
    train_fit(fit)
    return Entry(program, fit.make_decomposition(0))


def split_matrices(program: CompiledProgram, split: Callable[[str, Tensor], tuple[Tensor, Tensor]]) -> Entry:
    """Parts of every site from its matrix (d_in, d_out) alone; a site that does nothing gets one part of zeros."""
    parts = {}
    for site in program.sites:
        matrix = program.model.get_submodule(site).weight.detach().T.double()  # pyright: ignore[reportCallIssue]
        if program.rank(site) == 0:
            parts[site] = (matrix.new_zeros(len(matrix), 1), matrix.new_zeros(1, matrix.shape[1]))
        else:
            parts[site] = split(site, matrix)
    return entry_from_parts(program, parts)


def _enter_stranger(name: str, program: CompiledProgram, seed: int) -> Entry:
    """Called with (model, batches, sites, seed); gives parts by site, (parts, importances), or a Decomposition."""
    method = find_object(name.removeprefix("py:"))
    if not callable(method):
        raise UsageError(f"'{name}' is a {type(method).__name__}, and a contestant is a function.")
    wanted = {
        "model": program.model,
        "batches": program.batches(program.rows),
        "sites": program.sites,
        "seed": seed,
    }
    try:
        signature(method).bind(**wanted)
    except TypeError as error:
        raise UsageError(f"'{name}' cannot be called with (model, batches, sites, seed): {error}.") from None
    with one_sentence(f"'{name}'"):
        answer = method(**wanted)
    return _read_answer(name, program, answer)


def _read_answer(name: str, program: CompiledProgram, answer: Any) -> Entry:
    """A decomposition, or parts with or without importances; anything else is refused in one sentence."""
    if isinstance(answer, Decomposition):
        if set(answer.modules) != set(program.sites):
            raise UsageError(f"'{name}' decomposed {answer.modules}.", hint=f"The sites are {program.sites}.")
        return Entry(program, answer)
    parts, importances = answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, None)
    is_parts = isinstance(parts, dict) and all(
        isinstance(p, tuple | list) and len(p) == 2 and all(isinstance(x, torch.Tensor) for x in p)
        for p in parts.values()
    )
    if not is_parts or not (importances is None or callable(importances)):
        raise UsageError(
            f"'{name}' gave a {type(answer).__name__} that is no entry.",
            hint="Accepted: {site: (V, U)}, ({site: (V, U)}, function of ids), or a Decomposition.",
        )
    pairs = {site: (pair[0], pair[1]) for site, pair in parts.items()}
    return entry_from_parts(program, pairs, cast("Importances | None", importances))
