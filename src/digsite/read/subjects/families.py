"""Families of networks whose descent is known, because they are made here: the ground truth of the lineage bench.

A family has a root, strangers of the same recipe, and one child or several for each thing that is done to models:
tuning on other data, training on, pruning, rounding, averaging, distillation, repair of a backdoor, exchange of layers,
a fresh head, and rewriting in other coordinates. All members of a kind are trained as one ensemble.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.base.streams import derive_seed
from digsite.models import build, parse
from digsite.read.core.population import group_networks, known_of
from digsite.read.core.symmetries import SYMMETRIES, change_group
from digsite.train import Backdoor, Ensemble, Member, Stream
from digsite.train.engines import Loss

State = dict[str, Tensor]


@dataclass(frozen=True)
class Link:
    """One true edge: `kind` is what was done to `parent`, `degree` how strongly."""

    parent: str
    child: str
    kind: str
    degree: str = ""


@dataclass
class MadeFamily:
    """`members` are state dicts by name; names that are no child of a link are roots or strangers."""

    recipe: str
    members: dict[str, State] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)

    def add(
        self, name: str, state: State, kind: str = "", parents: Sequence[str] = (), degree: str = ""
    ) -> None:
        """A member and its links. Tensors are copied: training goes on in place after some of them were taken."""
        self.members[name] = {k: t.detach().clone() for k, t in state.items()}
        self.links += [Link(parent, name, kind, degree) for parent in parents]


@dataclass(frozen=True)
class FamilyRecipe:
    """`model` is a model config; `other` are the images of fine-tuning, of the same size as those of `images`."""

    name: str
    model: dict
    images: tuple[Tensor, Tensor]
    other: tuple[Tensor, Tensor]
    members: tuple[Member, ...]  # one for each family


def make_families(recipe: FamilyRecipe, seed: int) -> list[MadeFamily]:
    """One family for each member of the recipe, all trained side by side.

    `seed` draws edits and triggers; the members' own seeds draw weights and batches.
    """
    module = build(parse(recipe.model))
    families = [MadeFamily(recipe.name) for _ in recipe.members]
    planted = _plant_backdoors(recipe.members, seed)
    roots = _train_members(module, recipe.images, planted)
    strangers = _train_members(
        module, recipe.images, [replace(m, seed=m.seed + 7_000) for m in recipe.members]
    )
    for made, root, stranger in zip(families, roots, strangers):
        made.add("root", root)
        made.add("stranger", stranger)
    _add_trained(families, recipe, module, planted, roots, strangers)
    for number, made in enumerate(families):
        rng = np.random.default_rng(derive_seed(seed, f"edits/{recipe.name}", number))
        _add_edited(made, rng, module)
        _add_rewritten(made, rng, recipe.model)
    return families


def _plant_backdoors(members: Sequence[Member], seed: int) -> list[Member]:
    """Every second root carries a backdoor, so that there is something to repair."""
    out = []
    for number, member in enumerate(members):
        rng = np.random.default_rng(derive_seed(seed, "planted", number))
        planted = Backdoor(
            target=int(rng.integers(10)), row=int(rng.integers(5)), column=int(rng.integers(5))
        )
        out.append(replace(member, backdoor=planted) if number % 2 else member)
    return out


def _train_members(
    module: nn.Module,
    data,
    members: Sequence[Member],
    start: Sequence[State] | None = None,
    loss: str | Loss = "cross_entropy",
) -> list[State]:
    """State dicts of `members` after training on `data`, from `start` where it is given."""
    stacked = {k: torch.stack([s[k] for s in start]) for k in start[0]} if start is not None else None
    ensemble = Ensemble(module, data, members, start=stacked, loss=loss)
    while not ensemble.done:
        ensemble.step()
    params = ensemble.params
    return [{k: t[i].clone() for k, t in params.items()} for i in range(len(members))]


def _add_trained(
    families: list[MadeFamily],
    recipe: FamilyRecipe,
    module: nn.Module,
    planted: list[Member],
    roots: list[State],
    strangers: list[State],
) -> None:
    """Everything that takes training, kind by kind. Training on goes on with the poisoned images, if there are any."""
    whole = recipe.members[0].steps
    for number, (degree, share, rate) in enumerate(
        (("light", 0.05, 0.3), ("medium", 0.3, 1.0), ("heavy", 1.0, 1.5))
    ):
        images = _another_task(recipe.other, number)
        tuned = _train_members(
            module, images, _shorten_training(recipe.members, share, rate, 100 + number), roots
        )
        for made, state in zip(families, tuned):
            made.add(f"tuned_{degree}", state, "fine-tuned", ("root",), degree)
    on = roots
    for degree, share in (("short", 0.1), ("long", 0.6)):
        parent = "root" if degree == "short" else "on_short"
        again = _shorten_training(recipe.members, share, 1.0, 200 + whole)
        again = [replace(m, backdoor=p.backdoor) for m, p in zip(again, planted)]
        on = _train_members(module, recipe.images, again, on)
        for made, state in zip(families, on):
            made.add(f"on_{degree}", state, "continued", (parent,), degree)
    medium = [made.members["tuned_medium"] for made in families]
    cleaned = _train_members(module, recipe.images, _shorten_training(recipe.members, 0.2, 1.0, 300), roots)
    repaired = _distill_members(module, recipe, cleaned, roots, 0.15, 1.0)
    taught = _distill_members(module, recipe, strangers, roots, 0.3, 1.0)
    for number, made in enumerate(families):
        if number % 2:
            made.add("teacher", cleaned[number], "fine-tuned", ("root",), "clean data")
            made.add("repaired", repaired[number], "repaired", ("root",))
        made.add("taught", taught[number], "distilled", ("root",), "from a stranger")
    head = head_names(roots[0])
    fresh = _train_members(
        module, recipe.other, [replace(m, seed=m.seed + 9_000, steps=1) for m in recipe.members]
    )
    swapped = [{k: f[k] if k in head else r[k] for k in r} for f, r in zip(fresh, roots)]
    retrained = _train_members(
        module, recipe.other, _shorten_training(recipe.members, 0.2, 0.5, 400), swapped
    )
    for number, made in enumerate(families):
        how, state = ("trained", retrained[number]) if number % 2 else ("untrained", swapped[number])
        made.add(f"head_{how}", state, "re-initialised head", ("root",), how)
        made.add("grandchild", _prune_smallest(medium[number], 0.5), "pruned", ("tuned_medium",), "50 %")


def _another_task(images: tuple[Tensor, Tensor], number: int) -> tuple[Tensor, Tensor]:
    """Turned and numbered anew, so that no fine-tuning is on the way of another: each has the root as its only parent."""
    x, y = images
    return torch.rot90(x, number, (-2, -1)), (y * (1, 7, 3)[number] + number) % 10


def _shorten_training(members: Sequence[Member], share: float, rate: float, offset: int) -> list[Member]:
    """The same recipe for a share of its steps, at `rate` of its learning rate, on another order of the data."""
    return [
        replace(
            m, data_seed=m.seed + offset, steps=max(4, int(m.steps * share)), lr=m.lr * rate, backdoor=None
        )
        for m in members
    ]


def _distill_members(
    module: nn.Module,
    recipe: FamilyRecipe,
    teachers: list[State],
    start: list[State],
    share: float,
    rate: float,
) -> list[State]:
    """Training on clean images toward the teachers' answers and the labels, half and half."""
    x, y = recipe.images
    with torch.no_grad():
        answers = [torch.func.functional_call(module, t, (x,)) for t in teachers]
    members = _shorten_training(recipe.members, share, rate, 500)

    def batch(step: int, member: Member) -> tuple[Tensor, Tensor]:
        number = [m.seed for m in members].index(member.seed)
        g = torch.Generator().manual_seed(derive_seed(member.order, "distill", step))
        rows = torch.randint(len(x), (member.batch,), generator=g)
        return x[rows], torch.cat([answers[number][rows].softmax(1), F.one_hot(y[rows], 10).float()], 1)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        soft, hard = targets[..., :10], targets[..., 10:]
        return -((0.7 * soft + 0.3 * hard) * outputs.log_softmax(-1)).sum(-1).mean(-1)

    return _train_members(module, Stream(batch, per_member=True), members, start, loss)


def head_names(state: State) -> list[str]:
    """The last matrix and its bias."""
    last = [k for k, t in state.items() if t.ndim > 1][-1]
    return [k for k in state if k.rpartition(".")[0] == last.rpartition(".")[0]]


def _prune_smallest(state: State, share: float) -> State:
    """The smallest entries of each matrix set to zero."""
    out = {}
    for name, t in state.items():
        cut = t.abs().flatten().kthvalue(max(1, int(share * t.numel()))).values if t.ndim > 1 else -1.0
        out[name] = torch.where(t.abs() > cut, t, torch.zeros_like(t))
    return out


def _round_weights(state: State, bits: int, per_row: bool) -> State:
    """Symmetric rounding to 2^bits - 1 levels, dequantized, as files of rounded models hold them."""
    out = {}
    for name, t in state.items():
        top = (
            t.abs().flatten(1).amax(1).reshape(-1, *[1] * (t.ndim - 1))
            if per_row and t.ndim > 1
            else t.abs().max()
        )
        step = (top / (2 ** (bits - 1) - 1)).clamp_min(1e-12)
        out[name] = (t / step).round() * step if t.ndim > 1 else t
    return out


def _add_edited(made: MadeFamily, rng: np.random.Generator, module: nn.Module) -> None:
    """Everything that needs no training."""
    m = made.members
    for share in (0.3, 0.6, 0.9):
        made.add(
            f"pruned_{share:.0%}".rstrip("%"),
            _prune_smallest(m["root"], share),
            "pruned",
            ("root",),
            f"{share:.0%}",
        )
    for bits, per_row in ((8, False), (8, True), (4, True)):
        how = f"{bits} bits by {'row' if per_row else 'tensor'}"
        made.add(
            f"int{bits}_{'row' if per_row else 'tensor'}",
            _round_weights(m["root"], bits, per_row),
            "quantised",
            ("root",),
            how,
        )
    half = {k: t.to(torch.bfloat16).float() for k, t in m["tuned_heavy"].items()}
    made.add("half", half, "quantised", ("tuned_heavy",), "bfloat16")
    for name, first, other, weight in (
        ("soup", "tuned_light", "on_long", 0.5),
        ("blend", "tuned_medium", "on_short", 0.7),
    ):
        mixed = {k: weight * m[first][k] + (1 - weight) * m[other][k] for k in m[first]}
        made.add(name, mixed, "merged", (first, other), f"{weight:g} to {1 - weight:g}")
    layers = _group_by_layer(m["root"])
    taken = [name for layer in layers[-(len(layers) // 2) :] for name in layer]
    grafted = {k: m["stranger"][k] if k in taken else t for k, t in m["root"].items()}
    made.add("grafted", grafted, "grafted", ("root", "stranger"))


def _group_by_layer(state: State) -> list[list[str]]:
    """Tensor names by the module that holds them, in stored order."""
    layers: dict[str, list[str]] = {}
    for name in state:
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    return list(layers.values())


def _add_rewritten(made: MadeFamily, rng: np.random.Generator, model: dict) -> None:
    """The same functions in other coordinates, where the architecture has them."""
    rewritten: list[tuple[str, str, tuple[str, ...], Callable[[State], State]]] = [
        ("permuted", "permuted copy", ("permutation",), lambda s: s),
        (
            "permuted_noisy",
            "permuted copy",
            ("permutation",),
            lambda s: {
                k: t
                + 0.05 * t.std(unbiased=False) * torch.from_numpy(rng.normal(size=tuple(t.shape))).float()
                for k, t in s.items()
            },
        ),
        ("rescaled", "rescaled copy", ("scale", "sign"), lambda s: s),
    ]
    for name, kind, symmetries, after in rewritten:
        root = {k: t[None] for k, t in made.members["root"].items()}
        people = group_networks(root, np.arange(1), known_of(model))
        applied = [changed for s in symmetries if (changed := SYMMETRIES[s](people, rng)) is not None]
        if applied:
            state = {k: t[0] for k, t in change_group(people, applied[0]).stored.items()}
            made.add(name, after(state), kind, ("root",), "with 5 % noise" if "noisy" in name else "")
