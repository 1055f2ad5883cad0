"""The published alignment analysis by its five numbers, and the same without what the donor knows: do they say anything?

The original read success off them ("a small error, so the transfer works"). Each stands beside two nulls: the donor's
images paired with the wrong ones, and a donor of the same recipe that never saw the class.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from digsite.graft.config import AlignmentConfig
from digsite.graft.core.access import Access, AccessBudget
from digsite.graft.core.maps import fit_rotation
from digsite.graft.subjects.theatre import Theatre, open_theatre

BUDGET = "sab"  # shared images, the receiver's old ones, the donor's own
FREE = 8  # least used directions, at most; a third of the codes where these are fewer


@dataclass(frozen=True)
class Alignment:
    """The five numbers of one couple: the new class is placed by the donor's offset from the shared classes."""

    error: float  # of the rotation, as a share of the centered features it should give
    nearest: float  # from the new class's place to the nearer shared class, in spreads of a shared class
    farthest: float  # to the farther one
    angle: float  # degrees at the new class's place between the ways to the two
    cosine: float  # of both networks' centered features of one image, the donor's rotated
    free: float  # share of the new class's offset that lies in the receiver's least used directions


def measure_alignment(
    receiver_acts: Float[Tensor, "n d"],
    theirs: Float[Tensor, "n e"],
    old: Float[Tensor, "m d"],
    labels: Tensor,
    centers: Mapping[int, Float[Tensor, "e"]],
    new: int,
) -> Alignment:
    """`receiver_acts`, `theirs`: both networks' features of the same shared images, of which `labels` are the classes.

    `old`: the receiver's features of all its classes, which say where it has room. `centers`: the donor's mean features
    of the shared classes and of the `new` one. Features are cut to as many main directions as both have (at most 28, as
    the original's codes), so that networks of unequal width can be turned onto each other.
    """
    shared = [int(c) for c in labels.unique() if int(c) in centers]
    width = min(28, receiver_acts.shape[1], theirs.shape[1], len(receiver_acts) - 1)
    to_mine, to_theirs = _MainDirections(receiver_acts, width), _MainDirections(theirs, width)
    a, b = to_mine(receiver_acts), to_theirs(theirs)
    turn = fit_rotation(b, a)
    turned = turn(b)
    moved = {c: turn(to_theirs(center[None]))[0] for c, center in centers.items()}
    own = {c: a[labels == c].mean(0) for c in shared}
    new_center = torch.stack([own[c] + moved[new] - moved[c] for c in shared]).mean(0)
    spread = torch.cat([a[labels == c] - own[c] for c in shared]).square().sum(1).mean().sqrt()
    ways = [own[c] - new_center for c in shared]
    lengths = sorted(float(way.norm() / spread) for way in ways)
    centered, target = turned - a.mean(0), a - a.mean(0)
    offset = new_center - torch.stack(list(own.values())).mean(0)
    free = torch.linalg.svd(to_mine(old) - to_mine(old).mean(0), full_matrices=False).Vh[
        -min(FREE, width // 3) :
    ]
    return Alignment(
        error=float((centered - target).norm() / target.norm()),
        nearest=lengths[0],
        farthest=lengths[-1],
        angle=_angle(ways[0], ways[-1]),
        cosine=float(torch.cosine_similarity(centered, target, dim=1).mean()),
        free=float((free @ offset).square().sum() / offset.square().sum()),
    )


class _MainDirections:
    """Features in their own main directions, in which nothing is turned or stretched."""

    def __init__(self, features: Tensor, width: int) -> None:
        self.mean = features.mean(0)
        self.axes = torch.linalg.svd(features - self.mean, full_matrices=False).Vh[:width]

    def __call__(self, features: Tensor) -> Tensor:
        return (features - self.mean) @ self.axes.T


def _angle(first: Tensor, other: Tensor) -> float:
    """Degrees between two directions."""
    cosine = torch.cosine_similarity(first, other, dim=0).clamp(-1, 1)
    return float(torch.rad2deg(torch.arccos(cosine)))


def align_couple(config: dict[str, Any], names: tuple[str, str], seed: int) -> dict[str, Any]:
    """The five numbers of this couple, with images paired wrongly (several draws), and with a donor blind to the class."""
    torch.set_num_threads(1)
    settings = AlignmentConfig.model_validate(config)
    room = open_theatre(settings, names, seed)
    draw = torch.Generator().manual_seed(seed)
    aligned = _measure_room(room, settings, room.pair.donor, None)
    wrong = [_measure_room(room, settings, room.pair.donor, draw) for _ in range(settings.draws)]
    blind = [_measure_room(room, settings, room.blind, None)] if room.blind is not None else []
    return {
        "found": [asdict(aligned)],
        "wrong": [asdict(control) for control in wrong],
        "blind": [asdict(control) for control in blind],
    }


def _measure_room(
    room: Theatre, settings: AlignmentConfig, donor: torch.nn.Module, shuffle: torch.Generator | None
) -> Alignment:
    """The five numbers of one couple; with `shuffle` the donor's knowledge is scrambled first."""
    access = Access(room.pools, AccessBudget.parse_letters(BUDGET), room.lens)
    receiver_head, donor_head = room.pair.name_heads()
    shared, old = access.open_shared(settings.n_images), access.open_old(settings.n_images)
    receiver_acts = room.lens.collect_acts(room.pair.receiver, shared, receiver_head).last
    theirs = room.lens.collect_acts(donor, shared, donor_head).last
    (new,) = room.classes.new
    centers = {
        c: room.lens.collect_acts(donor, access.open_donor((c,), settings.n_images), donor_head).last.mean(0)
        for c in (*room.classes.shared, new)
    }
    if shuffle is not None:
        theirs = theirs[torch.randperm(len(theirs), generator=shuffle)]
    old_features = room.lens.collect_acts(room.pair.receiver, old, receiver_head).last
    return measure_alignment(receiver_acts, theirs, old_features, shared.y, centers, new)
