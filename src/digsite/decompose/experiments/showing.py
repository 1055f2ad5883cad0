"""What every study of the room writes of a decomposition: its file, chosen metrics, chosen figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from digsite.base.errors import UsageError, name_nearest
from digsite.base.families import scan_family
from digsite.decompose.core.decomposition import Decomposition, list_contents
from digsite.decompose.judge import answers
from digsite.decompose.judge.metrics import View

if TYPE_CHECKING:
    from digsite.worker.run import Run

PROMPTS, COMPONENTS = 4, 120  # that the dashboard can switch off, one at a time


def keep_members(run: Run, members: list[Decomposition]) -> None:
    """Every member as a file that `Decomposition.load` reads; the first under the plain name."""
    for k, found in enumerate(members):
        tensors, metadata = list_contents(found)
        run.tensors("decomposition" if k == 0 else f"member-{k}", tensors, metadata)


def keep_views(run: Run, view: View) -> None:
    """How much each component is used and what for, for the dashboard; `view` looks at the first member."""
    tensors = {f"mean/{module}": values.mean(dim=0) for module, values in view.importance.items()}
    if view.n_features:
        tensors |= {f"probes/{module}": values for module, values in view.probes.items()}
    run.tensors("importance", tensors)
    if view.labels is not None:
        keep_effects(run, view)
    for module in view.found.modules:
        owner = view.found.plan.owners[module]
        options = {"module": module, "importance": f"artifacts/importance.safetensors#mean/{module}"}
        if view.n_features:
            options["probes"] = f"artifacts/importance.safetensors#probes/{module}"
        if view.labels is not None:
            options |= {
                key: f"artifacts/effects.safetensors#{key}/{module}" for key in ("kl", "numbers", "first")
            }
            options |= {key: f"artifacts/effects.safetensors#{key}" for key in ("prompts", "answers")}
            options["words"] = "artifacts/words.json"
        source = f"artifacts/decomposition.safetensors#parts/{owner}/V"
        run.view(f"components of {module}", kind="components", source=source, **options)


def keep_effects(run: Run, view: View) -> None:
    """What leaving out one component changes on a few prompts; the dashboard has no model to ask."""
    prompts = view.sample(0)[:PROMPTS]
    scene = view.found.scene(prompts)
    first = answers.find_first_answers(scene)
    tensors, shown = {"prompts": prompts, "answers": first}, [prompts, first]
    for module in view.found.modules:
        numbers = answers.rank_most_used(scene, module, COMPONENTS)
        found = answers.measure_effects(scene, module, numbers)
        tensors |= {f"kl/{module}": found.kl, f"numbers/{module}": numbers, f"first/{module}": found.first}
        shown.append(found.first)
    run.tensors("effects", tensors)
    tokens = torch.cat([each.flatten() for each in shown]).unique().tolist()
    run.json("words", {str(token): view.words(token) for token in tokens})


def measure_metrics(run: Run, view: View, chosen: Mapping[str, Any]) -> dict[str, float]:
    """Metrics by name, each with its settings; a table of all numbers."""
    members = scan_family("digsite.decompose.judge.metrics")
    measured: dict[str, float] = {}
    for name, settings in chosen.items():
        if name not in members:
            raise UsageError(f"'{name}' is not a metric. {name_nearest(name, members)}")
        measured |= members[name](**(settings or {})).measure(view)
    if measured:
        run.table("metrics", {"metric": list(measured), "value": list(measured.values())})
    return measured


def draw_figures(run: Run, view: View, names: Sequence[str]) -> None:
    """Names were checked when the run was planned; here they are drawn."""
    members = scan_family("digsite.decompose.figures")
    for name in names:
        if name not in members:
            raise UsageError(f"'{name}' is not a figure. {name_nearest(name, members)}")
        member = members[name]
        run.figure(name, member.draw_figure(view), member.list_data(view), caption=member.CAPTION)
