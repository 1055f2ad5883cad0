"""Train K networks of one architecture at once; each member comes out as if it had been trained alone.

What makes a member come out as if alone: its initial weights, its order of examples, its label noise and its
dropout come from streams addressed by its own seed; nothing is drawn from a generator that members share.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.train.engines import Loss, choose_plan, find_loss
from digsite.train.feeds import Examples, Feed, Pool, Stream, as_data, make_feed, prepare_source
from digsite.train.group import Group, Masks, mask_shapes, replace_dropout, same_update
from digsite.train.layout import Layout, build_seeded, draw_initial, list_untrained
from digsite.train.member import Member, Model, select_examples


@dataclass(frozen=True)
class Start:
    """Where training begins: rows (K, P), and frozen parameters and buffers (K, ...) by name."""

    flat: Tensor
    extras: dict[str, Tensor]


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
        self.members, self.loss = list(members), find_loss(loss)
        self.device, self.dtype = torch.device(device), dtype
        self.template = (
            deepcopy(model) if isinstance(model, nn.Module) else build_seeded(model, members[0].seed)
        )
        self.layout = Layout.of(self.template)
        self.model = deepcopy(self.template).to(self.device, dtype)
        self.rates = replace_dropout(self.model)
        data = as_data(data)
        self.totals = [_count_steps(member, data) for member in members]
        first = self._draw_initial(model)
        _overwrite_start(first, self.layout, start)
        self.plan = choose_plan(self.model, self.layout, len(members), self.device, engine, chunk)
        self.indices = _group_members(self.members, self.totals, self.plan.chunk)
        source = prepare_source(self.members, data, torch.empty(0, device=self.device, dtype=self.dtype))
        self.groups = [self._make_group(index, first, source) for index in self.indices]

    def _draw_initial(self, model: Model) -> Start:
        """Each member's own weights, drawn one network at a time as they would be if it were trained alone."""
        rows, extras = [], []
        scratch = deepcopy(self.template)
        for member in self.members:
            made = draw_initial(model, scratch, member)
            rows.append(self.layout.row(made))
            extras.append({name: value.clone() for name, value in list_untrained(made).items()})
        return Start(torch.stack(rows), {n: torch.stack([e[n] for e in extras]) for n in extras[0]})

    def _make_group(self, index: list[int], first: Start, source: Pool | Stream) -> Group:
        """One group of members that step together, with its own feed and masks."""
        members = [self.members[i] for i in index]
        flat = first.flat[index].to(self.device, self.dtype).contiguous()
        extras = {name: self._place_inputs(value[index]) for name, value in first.extras.items()}
        feed, masks = make_feed(members, source, index, flat), Masks(members, self.rates, flat)
        if masks:
            masks.shapes = self._mask_shapes(feed)
        engine = self.plan.build(self.model, self.layout, self.loss)
        return Group(members, [self.totals[i] for i in index], flat, extras, engine, feed, masks)

    def _mask_shapes(self, feed: Feed) -> dict[str, tuple[int, ...]]:
        """Asked of a real batch, because a module's dropout may sit behind any reshaping."""
        batch = feed.batch(0, 1)
        return mask_shapes(self.model, batch.x if batch.shared else batch.x[0])

    @property
    def count(self) -> int:
        """Steps taken by the members that still train."""
        return max(group.count for group in self.groups)

    @property
    def total(self) -> int:
        """Steps of the longest training."""
        return max(self.totals)

    @property
    def done(self) -> bool:
        """Whether every member has taken all of its steps, or has diverged."""
        return all(group.done for group in self.groups)

    def step(self) -> None:
        """One step of every member that is not finished."""
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
        """A copy of all parameters by name, (K, *shape), the frozen ones too."""
        frozen = [name for name, p in self.template.named_parameters() if not p.requires_grad]
        return {**self.layout.views(self.flat), **{name: self._gather_extra(name) for name in frozen}}

    def _gather_extra(self, name: str) -> Tensor:
        """A buffer or frozen parameter of all members, (K, ...)."""
        return self.gather(lambda group: group.buffers[name])

    @property
    def losses(self) -> Tensor:
        """Training loss of each member's last mini-batch."""
        return self.gather(lambda group: group.losses)

    @property
    def diverged_at(self) -> Tensor:
        """The step at which a member's loss stopped being finite and it was frozen; -1 for never."""
        return self.gather(lambda group: group.diverged_at)

    def forward(self, x: Tensor, shared: bool = True, flat: Tensor | None = None) -> Tensor:
        """Outputs (K, n, ...) of all members in evaluation mode, for one x or (K, n, ...) of their own.

        `flat` runs other weights (K, P), such as those of a checkpoint.

        `shared`: whether all members read the same x.
        """
        parts, x = [], self._place_inputs(x)
        with torch.no_grad():
            for group, index in zip(self.groups, self.indices, strict=True):
                own = x if shared else x[index]
                parts.append(
                    group.outputs(own, shared, None if flat is None else flat[index].to(self.device))
                )
        joined = torch.cat(parts)
        out = torch.empty_like(joined)
        out[torch.tensor([i for index in self.indices for i in index], device=out.device)] = joined
        return out

    def forward_one(self, index: int, x: Tensor, batch: int = 1024) -> Tensor:
        """Outputs (n, ...) of one member in evaluation mode.

        `batch` rows at a time, so that a large test set needs little memory.
        """
        module = self.module(index)
        with torch.no_grad():
            return torch.cat([module(part) for part in self._place_inputs(x).split(batch)])

    def _place_inputs(self, x: Tensor) -> Tensor:
        """To the ensemble's device; numbers to its precision, ids as they are."""
        return x.to(self.device, self.dtype) if x.is_floating_point() else x.to(self.device)

    def module(self, index: int) -> nn.Module:
        """Member `index` as an ordinary module of its own, in evaluation mode."""
        made = deepcopy(self.template).to(self.device, self.dtype)
        extras = {name: self._gather_extra(name)[index] for name in self.groups[0].buffers}
        made.load_state_dict({**self.layout.views(self.flat[index]), **extras}, strict=False)
        return made.eval()

    def optimizer_state(self, index: int) -> dict[str, Tensor]:
        """A copy of what the optimizer remembers of member `index`, as `slot/parameter`."""
        group, row = next(
            (group, rows.index(index))
            for group, rows in zip(self.groups, self.indices, strict=True)
            if index in rows
        )
        return {
            f"{slot}/{name}": value.clone()
            for slot, vector in group.slots_of(row).items()
            for name, value in self.layout.views(vector).items()
        }

    def state(self) -> dict[str, Any]:
        """Tensors of a checkpoint; `load` brings them back into an ensemble made with the same arguments."""
        return {f"group{i}": group.state() for i, group in enumerate(self.groups)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Tensors of `state()`."""
        for i, group in enumerate(self.groups):
            group.load(state[f"group{i}"])


def _overwrite_start(first: Start, layout: Layout, start: Tensor | Mapping[str, Tensor] | None) -> None:
    """Put a user's weights, one set for all or (K, ...), in place of the drawn ones."""
    with torch.no_grad():
        if isinstance(start, Tensor):
            first.flat.copy_(start)
        elif start is not None:
            for name, value in {**layout.views(first.flat), **first.extras}.items():
                if name in start:
                    value.copy_(start[name])


def _count_steps(member: Member, data: Examples | Stream) -> int:
    """Steps of a member: as given, or epochs over the examples that it keeps, the last batch filled up."""
    if member.epochs is None:
        return member.steps
    if not isinstance(data, Examples):
        raise UsageError(f"epochs={member.epochs} needs stored examples: give steps for data made on the fly")
    return -(-round(member.epochs * len(select_examples(member, data.y).rows)) // member.batch)


def _group_members(members: Sequence[Member], totals: Sequence[int], chunk: int) -> list[list[int]]:
    """Member indices that step together: one batch size, longest training first, at most `chunk` in a group."""
    groups = []
    for size in sorted({member.batch for member in members}):
        own = [i for i, member in enumerate(members) if member.batch == size]
        # Members without dropout side by side: a group of them alone needs no masks.
        own.sort(key=lambda i: (-totals[i], bool(members[i].dropout), same_update(members[i], totals[i])))
        groups += [own[at : at + chunk] for at in range(0, len(own), chunk)]
    return groups
