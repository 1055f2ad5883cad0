"""What was published about these methods, and where each number came from."""

from dataclasses import dataclass, replace
from typing import Any

import torch

from digsite.graft.config import AuditConfig
from digsite.graft.core.operate import measure_best_null, plan_method, run_operation
from digsite.graft.core.task import make_pools
from digsite.graft.judge.compare import as_dict, enter_line, find_misfit
from digsite.graft.subjects.couples import TrainingRecipe, find_network, train_network
from digsite.graft.subjects.theatre import open_theatre


@dataclass(frozen=True)
class PublishedClaim:
    """A claim in percent; `origin` says how the number came about."""

    method: str
    transfer: float
    preservation: float
    origin: str


MEASURED = "measured; fitted and scored on the same test images"
DRAWN = "drawn from a random generator with hand-set formulas, not measured"

LEGACY = (
    PublishedClaim("direct_copy", 0.0, 99.0, "measured"),
    PublishedClaim("procrustes_probe", 19.0, 95.0, "measured, best of a range"),
    PublishedClaim("importance", 2.0, 95.0, "measured, best of a range"),
    PublishedClaim("gradual_blend", 13.0, 85.0, "measured, best of a range"),
    PublishedClaim("pathway", 3.0, 94.0, "measured, best of a range"),
    PublishedClaim("activation_selective", 25.0, 98.0, "measured"),
    PublishedClaim("cascade", 51.93, 94.11, "measured on one pair"),
    PublishedClaim("gradient_injection", 100.0, 0.0, MEASURED),
    PublishedClaim("preserved_injection", 0.2, 99.4, MEASURED),
    PublishedClaim("vector_space", 49.6, 97.0, MEASURED),
    PublishedClaim("cross_vector", 28.2, 99.0, MEASURED),
    PublishedClaim("aligned_spatial", 87.4, 97.2, MEASURED),
)
FRAMEWORK = (
    PublishedClaim(
        "precomputed_alignment", 56.1, 98.2, "mixture; its headline entry is exactly a generator draw"
    ),
    PublishedClaim("neural_alignment", 42.2, 98.7, DRAWN),
    PublishedClaim("concept_dimension", 56.1, 99.8, DRAWN),
    PublishedClaim("sparsity_optimization", 42.2, 100.0, DRAWN),
    PublishedClaim("hierarchical", 39.5, 98.8, DRAWN),
    PublishedClaim("multi_concept", 35.4, 95.9, DRAWN),
    PublishedClaim("adversarial", 31.3, 97.5, DRAWN),
    PublishedClaim("universal", 18.1, 101.6, DRAWN),
    PublishedClaim("continual", 35.8, 98.1, DRAWN),
)
CLAIMS = {p.method: p for p in (*LEGACY, *FRAMEWORK)}


# The published protocol on one couple: fitted and scored on the same test images, beside what that hides.

# what is run, and what it shows
STEPS = (
    (
        "aligned_spatial as_published=true leak=true",
        "as published: fitted on labelled test images, rotation transposed",
    ),
    ("aligned_spatial leak=true", "the same with the rotation the right way round"),
    ("aligned_spatial", "the same on training images of the new class"),
    ("aligned_spatial without_new=true", "the same without any image of the new class"),
    ("gradient_injection leak=true", "as published: every input becomes the new class"),
    ("preserved_injection leak=true", "as published"),
    ("vector_space as_published=true leak=true", "as published"),
    ("cross_vector leak=true", "as published"),
    ("direct_copy", "as published"),
    ("procrustes_probe as_published=true", "as published"),
    ("importance", "as published"),
    ("gradual_blend", "as published"),
    ("pathway", "as published"),
    ("activation_selective", "as published"),
    ("cascade", "as published"),
    ("precomputed_alignment", "the framework's first method, with a donor that knows the class"),
    ("probe_all k=5", "no donor: five labelled images"),
    ("union", "no image of anything: both networks side by side"),
    ("distill_strokes", "no image of anything, same size as the receiver"),
)


def reenact_on_couple(config: dict[str, Any], names: tuple[str, str], seed: int) -> dict[str, Any]:
    """Every step that fits this couple, with its ledger line and the three published specificities."""
    torch.set_num_threads(1)
    settings = AuditConfig.model_validate(config)
    room = open_theatre(settings, names, seed)
    leaking = make_pools(room.data, room.classes, leak=True)
    null = measure_best_null(room.pair, room.pools, room.scorer, seed, room.lens)
    rows = []
    for text, what in STEPS:
        chosen = plan_method(text)
        if not find_misfit(chosen, room):
            held = leaking if "t" in chosen.budget.letters else room.pools
            done = run_operation(chosen, room.pair, held, room.scorer, seed, lens=room.lens)
            assert done.outcome is not None
            rows.append(
                {**as_dict(enter_line(done, null)), "what": what, **list_specificities(done.outcome.raw)}
            )
    return {"rows": rows, "no_donor": without_donor(settings, names, seed)}


def list_specificities(raw: Any) -> dict[str, float]:
    """The three published definitions beside ours."""
    return {
        "framework_specificity": raw.foreign_not_foreign,
        "legacy_specificity": raw.foreign_accuracy,
        "readme_specificity": 100 - raw.foreign_not_new,
    }


def without_donor(settings: AuditConfig, names: tuple[str, str], seed: int) -> dict[str, float]:
    """The framework as its code stands: source and target are both trained on the old classes."""
    room = open_theatre(settings, names, seed)
    recipe = TrainingRecipe(
        settings.epochs, settings.batch, settings.lr, settings.weight_decay, settings.least_steps
    )
    shape = tuple(room.data.train.x.shape[1:])
    config = find_network(names[1], shape, int(room.data.train.y.max()) + 1)
    other = train_network(config, room.pools.old, seed + 1, recipe)
    pair = replace(room.pair, donor=other)
    done = run_operation(plan_method("precomputed_alignment"), pair, room.pools, room.scorer, seed)
    assert done.outcome is not None
    return {
        "donor_knows": room.scorer.accuracy_on(other, list(room.classes.new)),
        "transfer": done.outcome.raw.transfer,
        "preservation": done.outcome.raw.preservation,
    }
