"""Train K networks of one architecture at once; each member comes out as if it had been trained alone."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.base.streams import derive
from digsite.train.chooser import choose
from digsite.train.dropout import Masks, mask_shapes, replace_dropout
from digsite.train.engines.loop import Engine
from digsite.train.feeds import Examples, Feed, Stream, as_data, make_feed
from digsite.train.group import Group
from digsite.train.initial import initialize
from digsite.train.layout import Layout
from digsite.train.losses import Loss, resolve
from digsite.train.member import Member
from digsite.train.selection import select

Model = nn.Module | Callable[[], nn.Module]


class Ensemble:
    """K networks in training: call `step()` until `done`, read `flat`, `params`, `module(i)`, `evaluate(x, y)`."""

    def __init__(
        self,
        model: Model,
        data: Any,
        members: Sequence[Member],
        *,
        loss: str | Loss = "cross_entropy",
        start: Tensor | Mapping[str, Tensor] | None = None,
        engine: str | None = None,
        chunk: int | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if not members:
            raise UsageError("an ensemble needs at least one member")
        self.members, self.loss = list(members), resolve(loss)
        self.device, self.dtype = torch.device(device), dtype
        self.template = deepcopy(model) if isinstance(model, nn.Module) else _build(model, members[0])
        self.layout = Layout.of(self.template)
        self.model = deepcopy(self.template).to(self.device, dtype)
        self.rates = replace_dropout(self.model)
        data = as_data(data)
        self.totals = [_total(member, data) for member in members]
        first = self._start(model, start)
        self.plan = choose(self.model, self.layout.width, members[0].batch, self.device, engine, chunk)
        self.indices = _grouping(self.members, self.totals, self.plan.chunk)
        self.groups = [self._group(index, first, data) for index in self.indices]

    def _start(self, model: Model, start: Tensor | Mapping[str, Tensor] | None) -> Tensor:
        if start is None:
            return torch.stack([self._initial(model, member) for member in self.members])
        if not isinstance(start, Tensor):
            lead = len(self.members)
            flat = torch.empty(lead, self.layout.width)
            shapes = zip(self.layout.names, self.layout.shapes, strict=True)
            return self.layout.join({n: start[n].detach().expand(lead, *s) for n, s in shapes}, flat)
        return start.detach().expand(len(self.members), -1).clone()

    def _initial(self, model: Model, member: Member) -> Tensor:
        fresh = self.template if isinstance(model, nn.Module) else _build(model, member)
        initialize(fresh, member, built=not isinstance(model, nn.Module))
        return self.layout.row(fresh)

    def _group(self, index: Sequence[int], first: Tensor, data: Examples | Stream) -> Group:
        members = [self.members[i] for i in index]
        flat = first[list(index)].to(self.device, self.dtype).contiguous()
        buffers = {
            name: value.expand(len(index), *value.shape).clone()
            for name, value in self.model.named_buffers()
            if not name.endswith(".mask") and name != "mask"
        }
        feed, masks = make_feed(members, data, flat), Masks(members, self.rates, flat)
        if masks:
            masks.shapes = self._mask_shapes(feed)
        engine = self.plan.build(self.model, self.layout, self.loss)
        return Group(members, [self.totals[i] for i in index], flat, buffers, engine, feed, masks)

    def _mask_shapes(self, feed: Feed) -> dict[str, tuple[int, ...]]:
        batch = feed.batch(0, 1)
        return mask_shapes(self.model, batch.x if batch.shared else batch.x[0])

    @property
    def count(self) -> int:
        """Steps taken by the members that still train."""
        return max(group.count for group in self.groups)

    @property
    def total(self) -> int:
        return max(self.totals)

    @property
    def done(self) -> bool:
        return all(group.done for group in self.groups)

    def step(self) -> None:
        """One step of every member that is not finished."""
        self.model.train()
        for group in self.groups:
            if not group.done:
                group.step()

    def gather(self, take: Callable[[Group], Tensor]) -> Tensor:
        """One value per member, in member order, from each group's rows."""
        rows = torch.cat([take(group) for group in self.groups])
        order = torch.tensor([i for index in self.indices for i in index], device=rows.device)
        out = torch.empty_like(rows)
        out[order] = rows
        return out

    @property
    def flat(self) -> Tensor:
        """A copy of all parameters, (K, P)."""
        return self.gather(lambda group: group.flat)

    @property
    def params(self) -> dict[str, Tensor]:
        """A copy of all parameters by name, (K, *shape)."""
        return self.layout.views(self.flat)

    @property
    def losses(self) -> Tensor:
        """Training loss of each member's last mini-batch."""
        return self.gather(lambda group: group.losses)

    @property
    def diverged_at(self) -> Tensor:
        """The step at which a member's loss stopped being finite and it was frozen; -1 for never."""
        return self.gather(lambda group: group.diverged_at)

    def forward(self, x: Tensor, shared: bool = True) -> Tensor:
        """Outputs (K, n, ...) of all members in evaluation mode, for one x or (K, n, ...) of their own."""
        self.model.eval()
        parts, x = [], self._place(x)
        with torch.no_grad():
            for group, index in zip(self.groups, self.indices, strict=True):
                own = x if shared else x[list(index)]
                parts.append(group.engine.outputs(group.flat, group.buffers, own, shared))
        joined = torch.cat(parts)
        out = torch.empty_like(joined)
        out[torch.tensor([i for index in self.indices for i in index], device=out.device)] = joined
        return out

    def forward_one(self, index: int, x: Tensor, batch: int = 1024) -> Tensor:
        """Outputs (n, ...) of one member in evaluation mode."""
        module = self.module(index)
        with torch.no_grad():
            return torch.cat([module(part) for part in self._place(x).split(batch)])

    def _place(self, x: Tensor) -> Tensor:
        return x.to(self.device, self.dtype) if x.is_floating_point() else x.to(self.device)

    def module(self, index: int) -> nn.Module:
        """Member `index` as an ordinary module of its own, in evaluation mode."""
        made = deepcopy(self.template).to(self.device, self.dtype)
        state = {name: value[index] for name, value in self.params.items()}
        for name in self.groups[0].buffers:
            state[name] = self.gather(lambda group, name=name: group.buffers[name])[index]
        made.load_state_dict(state, strict=False)
        return made.eval()

    def state(self) -> dict[str, Any]:
        """Tensors of a checkpoint; `load` brings them back into an ensemble made with the same arguments."""
        return {f"group{i}": group.state() for i, group in enumerate(self.groups)}

    def load(self, state: Mapping[str, Any]) -> None:
        for i, group in enumerate(self.groups):
            group.load(state[f"group{i}"])


def _build(factory: Callable[[], nn.Module], member: Member) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(member.seed, "init"))
        return factory()


def _total(member: Member, data: Examples | Stream) -> int:
    if member.epochs is None:
        return member.steps
    if not isinstance(data, Examples):
        raise UsageError(f"epochs={member.epochs} needs stored examples: give steps for data made on the fly")
    return -(-round(member.epochs * len(select(member, data.y).rows)) // member.batch)


def _grouping(members: Sequence[Member], totals: Sequence[int], chunk: int) -> list[list[int]]:
    """Member indices that can step together, longest training first, at most `chunk` in a group."""
    kinds: dict[tuple[object, ...], list[int]] = {}
    for index, member in enumerate(members):
        key = (member.optimizer, member.betas, member.batch, bool(member.dropout), member.dropout is None)
        kinds.setdefault(key, []).append(index)
    groups = []
    for indices in kinds.values():
        ordered = sorted(indices, key=lambda i: -totals[i])
        groups += [ordered[at : at + chunk] for at in range(0, len(ordered), chunk)]
    return groups
