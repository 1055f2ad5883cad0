"""The published protocol on one couple: fitted and scored on the same test images, beside what that hides."""

from dataclasses import replace
from typing import Any

import torch

from digsite.graft.config import AuditConfig
from digsite.graft.core.operate import best_null, operate, plan
from digsite.graft.core.task import pools
from digsite.graft.judge.compare import unfit
from digsite.graft.judge.ledger import as_dict, entry
from digsite.graft.subjects.couples import Recipe, network, train
from digsite.graft.subjects.theatre import open_theatre

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


def job(config: dict[str, Any], names: tuple[str, str], seed: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    settings = AuditConfig.model_validate(config)
    room = open_theatre(settings, names, seed)
    leaking = pools(room.data, room.classes, leak=True)
    null = best_null(room.pair, room.pools, room.scorer, seed, room.lens)
    rows = []
    for text, what in STEPS:
        chosen = plan(text)
        if not unfit(chosen, room):
            held = leaking if "t" in chosen.budget.letters else room.pools
            done = operate(chosen, room.pair, held, room.scorer, seed, lens=room.lens)
            assert done.outcome is not None
            rows.append({**as_dict(entry(done, null)), "what": what, **specificities(done.outcome.raw)})
    return {"rows": rows, "no_donor": without_donor(settings, names, seed)}


def specificities(raw: Any) -> dict[str, float]:
    """The three published definitions beside ours."""
    return {
        "framework_specificity": raw.foreign_not_foreign,
        "legacy_specificity": raw.foreign_accuracy,
        "readme_specificity": 100 - raw.foreign_not_new,
    }


def without_donor(settings: AuditConfig, names: tuple[str, str], seed: int) -> dict[str, float]:
    """The framework as its code stands: source and target are both trained on the old classes."""
    room = open_theatre(settings, names, seed)
    recipe = Recipe(settings.epochs, settings.batch, settings.lr, settings.weight_decay, settings.least_steps)
    shape = tuple(room.data.train.x.shape[1:])
    config = network(names[1], shape, int(room.data.train.y.max()) + 1)
    other = train(config, room.pools.old, seed + 1, recipe)
    pair = replace(room.pair, donor=other)
    done = operate(plan("precomputed_alignment"), pair, room.pools, room.scorer, seed)
    assert done.outcome is not None
    return {
        "donor_knows": room.scorer.accuracy(other, list(room.classes.new)),
        "transfer": done.outcome.raw.transfer,
        "preservation": done.outcome.raw.preservation,
    }
