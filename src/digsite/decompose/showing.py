"""What every study of the room writes of a decomposition: its file, chosen metrics, chosen figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from digsite.base.errors import UsageError, nearest
from digsite.base.families import scan
from digsite.decompose.decomposition import Decomposition
from digsite.decompose.storage import contents
from digsite.decompose.view import View

if TYPE_CHECKING:
    from digsite.worker.run import Run


def keep(run: Run, members: list[Decomposition]) -> None:
    """Every member as a file that `Decomposition.load` reads; the first under the plain name."""
    for k, found in enumerate(members):
        tensors, metadata = contents(found)
        run.tensors("decomposition" if k == 0 else f"member-{k}", tensors, metadata)


def views(run: Run, view: View) -> None:
    """How much each component is used and what for, for the dashboard; `view` looks at the first member."""
    tensors = {f"mean/{module}": values.mean(dim=0) for module, values in view.importance.items()}
    if view.n_features:
        tensors |= {f"probes/{module}": values for module, values in view.probes.items()}
    run.tensors("importance", tensors)
    for module in view.found.modules:
        owner = view.found.plan.owners[module]
        probes = {"probes": f"artifacts/importance.safetensors#probes/{module}"} if view.n_features else {}
        run.view(
            f"components of {module}",
            kind="components",
            source=f"artifacts/decomposition.safetensors#parts/{owner}/V",
            module=module,
            importance=f"artifacts/importance.safetensors#mean/{module}",
            **probes,
        )


def measure(run: Run, view: View, chosen: Mapping[str, Any]) -> dict[str, float]:
    """Metrics by name, each with its settings; a table of all numbers."""
    members = scan("digsite.decompose.metrics")
    measured: dict[str, float] = {}
    for name, settings in chosen.items():
        if name not in members:
            raise UsageError(f"'{name}' is not a metric. {nearest(name, members)}")
        measured |= members[name].compute(members[name].Settings(**(settings or {})), view)
    if measured:
        run.table("metrics", {"metric": list(measured), "value": list(measured.values())})
    return measured


def draw(run: Run, view: View, names: Sequence[str]) -> None:
    members = scan("digsite.decompose.figures")
    for name in names:
        if name not in members:
            raise UsageError(f"'{name}' is not a figure. {nearest(name, members)}")
        member = members[name]
        data = member.data(view) if hasattr(member, "data") else None
        run.figure(name, member.draw(view), data, caption=member.CAPTION)
