"""What every study of the room writes of a decomposition: its file, chosen metrics, chosen figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from digsite.base.errors import UsageError, name_nearest
from digsite.base.families import scan_family
from digsite.decompose.core.components import ModuleMatch, compare
from digsite.decompose.core.decomposition import Decomposition, list_contents
from digsite.decompose.core.explain import Use, describe_uses
from digsite.decompose.judge import answers
from digsite.decompose.judge.metrics import View

if TYPE_CHECKING:
    from digsite.worker.run import Run

PROMPTS, COMPONENTS = 4, 120  # that the dashboard can switch off, one at a time
EFFECTS = ("numbers", "kl", "first", "sets", "kl_of_sets", "first_of_sets")
PAGES = 24  # components of a module that have a page, the most used ones


def keep_members(run: Run, members: list[Decomposition]) -> None:
    """Every member as a file that `Decomposition.load` reads; the first under the plain name."""
    for k, member in enumerate(members):
        tensors, metadata = list_contents(member)
        run.tensors("decomposition" if k == 0 else f"member-{k}", tensors, metadata)


def keep_views(run: Run, view: View, twins: Sequence[Decomposition] = ()) -> None:
    """How much each component is used and what for, for the dashboard; `view` looks at the first member, `twins` are members
    of other seeds.
    """
    tensors = {f"mean/{module}": values.mean(dim=0) for module, values in view.importance.items()}
    if view.n_features:
        tensors |= {f"probes/{module}": values for module, values in view.probes.items()}
    run.tensors("importance", tensors)
    if view.labels is not None:
        keep_effects(run, view)
        keep_pages(run, view, twins)
    for module in view.decomposition.modules:
        owner = view.decomposition.plan.owners[module]
        options = {"module": module, "importance": f"artifacts/importance.safetensors#mean/{module}"}
        if view.n_features:
            options["probes"] = f"artifacts/importance.safetensors#probes/{module}"
        if view.labels is not None:
            options |= {key: f"artifacts/effects.safetensors#{key}/{module}" for key in EFFECTS}
            options["pages"] = "artifacts/pages.json"
            options |= {key: f"artifacts/effects.safetensors#{key}" for key in ("prompts", "answers")}
            options["words"] = "artifacts/words.json"
        source = f"artifacts/decomposition.safetensors#parts/{owner}/V"
        run.view(f"components of {module}", kind="components", source=source, **options)


def keep_effects(run: Run, view: View) -> None:
    """What leaving out one component, or some together, changes on a few prompts; the dashboard has no model to ask."""
    prompts = view.sample(0)[:PROMPTS]
    scene = view.decomposition.scene(prompts)
    first = answers.find_first_answers(scene)
    tensors, shown = {"prompts": prompts, "answers": first}, [prompts, first]
    for module in view.decomposition.modules:
        most_used = view.importance[module].mean(0).argsort(descending=True, stable=True)
        numbers = most_used[:COMPONENTS]
        effects = answers.measure_effects(scene, module, numbers)
        both = answers.measure_effects(scene, module, answers.list_sets(numbers))
        kept = (numbers, effects.kl, effects.first, both.numbers, both.kl, both.first)
        tensors |= {f"{key}/{module}": value for key, value in zip(EFFECTS, kept, strict=True)}
        shown += [effects.first, both.first]
    run.tensors("effects", tensors)
    tokens = torch.cat([each.flatten() for each in shown]).unique().tolist()
    run.json("words", {str(token): view.words(token) for token in tokens})


def keep_pages(run: Run, view: View, twins: Sequence[Decomposition]) -> None:
    """A page for each of the most used components, in words: where it is used, what it promotes, who it is in other seeds.

    A module that is used once for a whole row, as where two numbers are added, has no places and so no pages.
    """
    batches = list(view.draw_batches())
    n_places = sum(batch.numel() for batch in batches)
    chosen = {
        module: values.mean(0).argsort(descending=True, stable=True)[:PAGES].tolist()
        for module, values in view.importance.items()
        if len(values) == n_places
    }
    matched = [compare(view.decomposition, twin) for twin in twins]
    uses = describe_uses(view.decomposition, batches, view.importance, chosen)
    pages = {
        module: {
            str(c): word_page(use, view.words) | {"twins": find_twins(matched, module, c)}
            for c, use in uses.get(module, {}).items()
            if use.contexts
        }
        for module in view.decomposition.modules
    }
    run.json("pages", pages)


def word_page(use: Use, words: Callable[[int], str]) -> dict[str, Any]:
    """The same with tokens as words; one that is a piece of a character has its number beside it in a table."""

    def name(token: int) -> str:
        word = words(token)
        return f"{word} ({token})" if "\ufffd" in word else word

    return {
        "share": use.share,
        "first": use.first,
        "histogram": use.histogram,
        "tokens": [[name(token), uses, share] for token, uses, share in use.tokens],
        "promoted": [[name(token), change] for token, change in use.promoted],
        "suppressed": [[name(token), change] for token, change in use.suppressed],
        "contexts": [
            {"words": [words(t) for t in c.tokens], "importance": c.importance, "at": c.at}
            for c in use.contexts
        ],
    }


def find_twins(
    matched: Sequence[dict[str, ModuleMatch]], module: str, component: int
) -> list[dict[str, Any]]:
    """The component's partner in each other seed, with the cosine, beside that of random directions."""
    twins = []
    for k, match in enumerate(matched, 1):
        pairs = match[module]
        number, cosine = next(
            ((b, c) for (a, b), c in zip(pairs.pairs, pairs.cosine, strict=True) if a == component),
            (None, None),
        )
        twins.append({"member": k, "number": number, "cosine": cosine, "chance": pairs.chance})
    return twins


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
