"""What is it made of: a small decomposition of the matrix that departs most from a random one, beside singular parts."""

import time

import torch
from torch import nn

from digsite.decompose.api import decompose
from digsite.decompose.core.decomposition import Decomposition
from digsite.decompose.core.masks import USED
from digsite.decompose.core.recipes import find_dense_layers
from digsite.decompose.judge.baselines import make_rivals
from digsite.joint.core.statements import Allowance, Answer, Statement, skip
from digsite.joint.subjects.model import LARGE, Subject
from digsite.models.opening import answer_for_a_while
from digsite.read.judge.condition import check_matrix

ORDER, QUESTION, WEIGHT = 6, "What is it made of?", 4.0
DEEPER = "digsite decompose MODEL --modules NAME --data DATA"
SIDES = (
    8,
    1536,
)  # of a matrix that is decomposed: below nothing can be told from chance, above a step takes seconds
LOOKED_AT = 12  # matrices that are compared with random ones, evenly from first to last
STEPS = (30, 300)  # more is for `digsite decompose`; 300 leave a 260K model within a minute of CPU time
ALMOST = 0.9  # of the parts at a position: from here on nothing was taken apart
TRIAL = 10  # steps by which the price of one is measured


def examine(subject: Subject, allowance: Allowance) -> Answer:
    """Of dense layers, the one whose spectrum departs most from that of random matrices of its shape, in as many steps
    as the time allows; `allowance` ends it."""
    opened = subject.opened
    if opened.module is None:
        return skip(f"it cannot be run here: {opened.why_not}")
    if subject.batch is None or subject.practice is None:
        return skip("there is nothing to feed it (--text FILE or --data SET)")
    if subject.size > LARGE:
        return skip(
            f"it has {subject.size:,} parameters, and decompositions are trained here through models of up to {LARGE:,}"
        )
    chosen = choose_matrix(opened.module)
    if chosen is None:
        return skip(f"it has no dense layer with sides of {SIDES[0]} to {SIDES[1]:,}")
    with answer_for_a_while(opened) as module:
        decomposition, steps = _decompose_within(module, chosen, subject, allowance)
        scores = compare_parts(decomposition, subject.inputs)
    return Answer(
        (_say_parts(chosen, scores, steps, "nats of KL" if subject.speaks else "squared error"),),
        "",
        {"parts": [{"matrix": chosen, "steps": steps, **scores}]},
    )


def choose_matrix(module: nn.Module) -> str | None:
    """The name of the dense layer in which the strongest of four statistics lies farthest from random matrices of its
    shape, in their standard deviations; of `LOOKED_AT` layers, evenly from first to last. None where no layer fits."""
    weights = {name: module.get_parameter(f"{name}.weight").detach() for name in find_dense_layers(module)}
    names = [name for name, weight in weights.items() if _fits(weight.shape)]
    step = max(1, -(-len(names) // LOOKED_AT))
    checks = {name: check_matrix(name, weights[name]) for name in names[::step]}
    known = {name: max(check.z) for name, check in checks.items() if check is not None}
    return max(known, key=lambda name: known[name]) if known else None


def _fits(shape: torch.Size) -> bool:
    return SIDES[0] <= min(shape) and max(shape) <= SIDES[1]


def _decompose_within(
    module: nn.Module, name: str, subject: Subject, allowance: Allowance
) -> tuple[Decomposition, int]:
    """A language model's parts learn; of any other network they add up to the matrix exactly and are only mixed, by a
    recipe that is good from its first step on."""
    settings = (
        {"recipe": "language"}
        if subject.speaks
        else {"recipe": "transformers", "C": "rank", "compare": "mse"}
    )
    practice = subject.practice
    assert practice is not None, "asked for a decomposition where there is nothing to train on"
    rows = {"data": practice, "batch": min(16, len(practice)), "seed": subject.seed}
    steps = subject.steps
    if not steps:
        before = time.process_time()
        decompose(module, [name], **settings, **rows, steps=TRIAL)
        price = max((time.process_time() - before) / TRIAL, 1e-4)
        steps = int(min(max(0.7 * allowance.left / price, STEPS[0]), STEPS[1]))
    return decompose(module, [name], **settings, **rows, steps=steps), steps


@torch.no_grad()
def compare_parts(decomposition: Decomposition, inputs: torch.Tensor) -> dict[str, float]:
    """How far the output moves on `inputs` when each position keeps the parts that its gates call important, beside as
    many singular parts of the matrix, as many parts along random directions, and none."""
    scene = decomposition.scene(inputs)
    kept = decomposition.draw(scene, "rounded")
    (name,) = decomposition.modules
    gates = scene.importance.lower[name]
    every = {module: mask.new_ones(mask.shape[-1]) for module, mask in kept.parts.items()}
    others = make_rivals(decomposition, scene, kept, every, torch.Generator().manual_seed(0))
    moved = {
        rival: float(other.compare_output(other.forward(masks))) for rival, (other, masks) in others.items()
    }
    nothing = decomposition.draw(scene, "zero", generator=torch.Generator().manual_seed(0))
    return {
        "parts": float(gates.shape[-1]),
        "parts in use": float((gates > USED).flatten(0, -2).any(0).sum()),
        "parts at a position": float((gates > USED).sum(-1).float().mean()),
        "moved": float(scene.compare_output(scene.forward(kept))),
        "moved by singular parts": moved["svd"],
        "moved by random directions": moved["random_directions"],
        "moved without any": float(scene.compare_output(scene.forward(nothing))),
    }


def _say_parts(name: str, scores: dict[str, float], steps: int, unit: str) -> Statement:
    moved, svd, random = (
        scores[key] for key in ("moved", "moved by singular parts", "moved by random directions")
    )
    best = "the least of the three" if moved < min(svd, random) else "not the least of the three"
    used = scores["parts at a position"] / scores["parts"]
    short = " The training was too short to set them apart: almost all are needed." if used > ALMOST else ""
    text = (
        f"'{name}', the matrix that departs most from a random one, was split into {scores['parts']:.0f} parts in {steps} steps. "
        f"With only those that a position needs, {scores['parts at a position']:.1f} on average, the output moves by {moved:.3g} ({unit}), "
        f"{best}: as many singular parts {svd:.3g}, as many random directions {random:.3g}; with none it moves by "
        f"{scores['moved without any']:.3g}.{short}"
    )
    beside = "as many parts along random directions, the largest at each position"
    return Statement(
        "moved",
        "output moved with the important parts alone",
        text,
        beside,
        moved,
        null=random,
        unit=unit,
        better="lower",
        quote=True,
    )
