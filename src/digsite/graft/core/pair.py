"""The task: a receiver, a donor and which classes each of them knows."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import torch
from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.base.streams import derive_seed
from digsite.graft.core.access import Access, LabelledImages
from digsite.graft.core.nets import Acts, find_head, find_head_name, reject_non_finite


@dataclass(frozen=True)
class Pair:
    """Donor and receiver, in the order in which everything here names them; both may be given by keyword.

    `old`: classes that the receiver knows. `shared`: what both know. `new`: what the donor alone knows and the receiver should
    learn. `foreign`: what it should not.
    """

    donor: nn.Module
    receiver: nn.Module
    old: Sequence[int] = (0, 1, 2, 3)
    shared: Sequence[int] = (2, 3)
    new: Sequence[int] = (4,)
    foreign: Sequence[int] = (5,)
    receiver_head: str | None = None
    donor_head: str | None = None
    start: nn.Module | None = None  # what both were fine-tuned from, where there is such a network

    def __post_init__(self) -> None:
        for name in ("old", "shared", "new", "foreign"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        self._check_classes()
        for role, model, name in self._list_sides():
            reject_non_finite(model, role)
            wide = find_head(model, name).out_features
            known = self.old if role == "receiver" else (*self.shared, *self.new)
            if role == "donor" and max(self.new) >= wide:
                raise UsageError(
                    f"The donor does not know class {max(self.new)}: its head has {wide} outputs."
                )
            if known and max(known) >= wide:
                raise UsageError(f"The {role}'s head has {wide} outputs, class {max(known)} has none.")

    def _list_sides(self) -> list[tuple[str, nn.Module, str | None]]:
        """Role, network and head name of both, for checks that hold for either."""
        return [("receiver", self.receiver, self.receiver_head), ("donor", self.donor, self.donor_head)]

    def _check_classes(self) -> None:
        """Who knows what makes sense, or one sentence."""
        if not self.new:
            raise UsageError("A graft needs at least one new class.")
        if twice := set(self.new) & set(self.old):
            raise UsageError(
                f"The receiver already knows class {min(twice)}.", hint="Choose another new class."
            )
        if stray := set(self.shared) - set(self.old):
            raise UsageError(
                f"Shared class {min(stray)} is not among the receiver's classes {list(self.old)}."
            )
        if both := set(self.foreign) & {*self.old, *self.new}:
            raise UsageError(f"Class {min(both)} cannot be foreign: it is old or new.")

    def name_heads(self) -> tuple[str, str]:
        """Paths of the receiver's and the donor's head."""
        return find_head_name(self.receiver, self.receiver_head), find_head_name(self.donor, self.donor_head)


@dataclass(frozen=True)
class Message:
    """Everything that crosses from the donor: named tensors, and nothing else."""

    tensors: dict[str, Tensor]

    @property
    def n_bytes(self) -> int:
        """Size of everything that crosses."""
        return sum(t.numel() * t.element_size() for t in self.tensors.values())

    @property
    def digest(self) -> bytes:
        """The same for the same numbers."""
        hasher = blake2b(digest_size=16)
        for name, t in self.tensors.items():
            hasher.update(name.encode())
            hasher.update(t.contiguous().numpy().tobytes())
        return hasher.digest()

    def shuffle_numbers(self, seed: int) -> "Message":
        """The same numbers in a random order: sizes and scales stay, what the donor knew is gone."""
        draw = torch.Generator().manual_seed(seed)
        return Message({name: _shuffle_tensor(t, draw) for name, t in self.tensors.items()})

    def select_under(self, prefix: str) -> dict[str, Tensor]:
        """Tensors whose names begin with `prefix`, without it."""
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}


def _shuffle_tensor(t: Tensor, draw: torch.Generator) -> Tensor:
    """The numbers of `t` in a random order; a single number, which has no order, times a random one."""
    if not t.is_floating_point():  # addresses of rows are where, not what
        return t
    if t.numel() == 1:
        return t * torch.randn(1, generator=draw).reshape(t.shape).to(t)
    return t.flatten()[torch.randperm(t.numel(), generator=draw)].reshape(t.shape)


@dataclass(frozen=True)
class Side:
    """One side of the operating table: its model, the classes, the data it may read, its random streams."""

    model: nn.Module
    head: str
    pair: Pair
    access: Access
    seed: int

    @property
    def new(self) -> list[int]:
        """The classes to be learned."""
        return list(self.pair.new)

    def collect_acts(self, images: LabelledImages) -> Acts:
        """What flows through this side's model, computed once per set of images."""
        return self.access.lens.collect_acts(self.model, images, self.head)

    def derive_seed(self, name: str, *indices: int) -> int:
        """A seed for what is called `name`, different for every side's seed and all `indices`."""
        return derive_seed(self.seed, f"graft/{name}", *indices)

    def make_generator(self, name: str, *indices: int) -> torch.Generator:
        """A random stream of its own for what is called `name`."""
        return torch.Generator().manual_seed(self.derive_seed(name, *indices))
