"""One operation: the donor's message is taken, carried over, applied and scored, with its noise ablation beside it."""

import time
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError
from torch import nn

from digsite.base import families
from digsite.base.errors import NotFound, UsageError, name_nearest
from digsite.graft.config import METHODS, list_texts
from digsite.graft.core.access import Access, AccessBudget, ImagePools, Lens
from digsite.graft.core.methods import GraftMethod
from digsite.graft.core.nets import count_parameters, has_same_shape
from digsite.graft.core.pair import Message, Pair, Side
from digsite.graft.core.task import GraftOutcome, Scorer


@dataclass(frozen=True)
class MethodPlan:
    """A method with its options: "ridge_all data=au"."""

    label: str  # name and options as they were given: what a line is called in tables and claims
    name: str
    method: GraftMethod

    @property
    def budget(self) -> AccessBudget:
        """What the method with these settings may read."""
        return AccessBudget.parse_letters(self.method.declare_budget())

    @property
    def identity(self) -> tuple[str, str]:
        """The idea and all of its settings: equal for two names of one experiment."""
        return self.method.find_idea().__name__, self.method.settings.model_dump_json()


@dataclass(frozen=True)
class Operation:
    """What came out, for real and with the donor's message replaced by noise."""

    plan: MethodPlan
    model: nn.Module
    outcome: GraftOutcome | None
    ablation: GraftOutcome | None
    n_bytes: int
    images: dict[str, int]
    added_parameters: int
    cpu_s: float


def list_method_names() -> list[str]:
    """All names that are accepted, published ones among them."""
    return families.list_members(METHODS)


def find_method(name: str) -> type[GraftMethod]:
    """The class of a method by its name."""
    if name not in list_method_names():
        raise NotFound(f"There is no graft method '{name}'.", hint=name_nearest(name, list_method_names()))
    return families.scan_member(METHODS, name)


def plan_method(text: str, **given: Any) -> MethodPlan:
    """Reads "name key=value ..."; more options may be given by keyword."""
    name, *words = text.split()
    for word in words:
        if "=" not in word:
            raise UsageError(f"'{word}' in '{text}' is no option.", hint="Write options as key=value.")
    options: dict[str, Any] = {**dict(word.split("=", 1) for word in words), **given}
    kind = find_method(name)
    try:
        settings = kind.read_settings(options)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"Option '{key}' of '{name}': {first['msg']}.", hint=name_nearest(key, kind.Settings.model_fields)
        ) from None
    return MethodPlan(label_of(name, options), name, kind(settings))


def label_of(name: str, options: dict[str, Any]) -> str:
    """Names and values of all options that were given: values alone once merged two experiments into one label."""
    return "_".join([name, *(f"{key}={str(value).replace(',', '-')}" for key, value in options.items())])


def check_fit(chosen: MethodPlan, pair: Pair) -> None:
    """Shapes and classes that this method cannot work with."""
    if chosen.method.SAME_SHAPE and not has_same_shape(pair.receiver, pair.donor):
        others = [n for n in list_method_names() if not find_method(n).SAME_SHAPE]
        raise UsageError(
            f"'{chosen.name}' needs two networks of one shape, and receiver and donor differ.",
            hint=f"Across architectures: {', '.join(others)}.",
        )
    if chosen.method.NEEDS_START and pair.start is None:
        raise UsageError(
            f"'{chosen.name}' needs the network from which both were fine-tuned, and the pair has none.",
            hint="Give it: Pair(..., start=model).",
        )
    if "s" in chosen.budget.letters and not pair.shared:
        raise UsageError(f"'{chosen.name}' needs a shared class, and the pair has none.")


def blank_copy(model: nn.Module) -> nn.Module:
    """The architecture without what was learned: all a side may know of the other's network."""
    empty = deepcopy(model)
    for p in [*empty.parameters(), *empty.buffers()]:
        if p.is_floating_point():
            p.data.zero_()
    return empty.eval()


def make_sides(
    chosen: MethodPlan, pair: Pair, pools: ImagePools, seed: int, lens: Lens | None = None
) -> tuple[Side, Side]:
    """Donor's and receiver's side; neither sees the other's weights, and both share one budget."""
    access = Access(pools, chosen.budget, lens)
    a, b = pair.name_heads()
    donor = Side(pair.donor, b, replace(pair, receiver=blank_copy(pair.receiver)), access, seed)
    receiver = Side(pair.receiver, a, replace(pair, donor=blank_copy(pair.donor)), access, seed)
    return donor, receiver


def run_operation(
    chosen: MethodPlan,
    pair: Pair,
    pools: ImagePools,
    scorer: Scorer | None,
    seed: int = 0,
    *,
    lens: Lens | None = None,
    ablate: bool = True,
) -> Operation:
    """Take, carry over, apply, score; then again with noise in the donor's place.

    `chosen`: the method. `pools`: images by who may see them. `scorer`: what scores the result; None to make it only.
    `seed`: of everything random. `lens`: keeps what flows through the networks, for several operations on one couple.
    `ablate`: run the noise ablation too, without which there is no ledger line.
    """
    check_fit(chosen, pair)
    donor, receiver = make_sides(chosen, pair, pools, seed, lens)
    started = time.process_time()
    message = chosen.method.take_message(donor)
    model = chosen.method.apply_message(receiver, message).eval()
    cpu_s = time.process_time() - started
    outcome = scorer(model) if scorer else None
    ablation = None
    if scorer and ablate:
        ablation = outcome
        if message.tensors:
            noise = message.shuffle_numbers(receiver.derive_seed("noise"))
            ablation = scorer(chosen.method.apply_message(receiver, noise).eval())
    added = count_parameters(model) - count_parameters(pair.receiver)
    return Operation(
        chosen, model, outcome, ablation, message.n_bytes, dict(receiver.access.read), added, cpu_s
    )


def list_donorless_nulls() -> list[str]:
    """The nulls that ask no donor at all, with the settings that a study tries."""
    return [text for text in list_texts("null") if find_method(text.split()[0]).DONORLESS]


def measure_best_null(
    pair: Pair, pools: ImagePools, scorer: Scorer, seed: int = 0, lens: Lens | None = None
) -> GraftOutcome:
    """The null that transfers most at equal false alarms: no method is compared with a weaker one."""
    done = [
        run_operation(plan_method(n), pair, pools, scorer, seed, lens=lens, ablate=False).outcome
        for n in list_donorless_nulls()
    ]
    return max((d for d in done if d is not None), key=lambda o: o.calibrated.transfer)


def send_whole_donor(donor: Side) -> Message:
    """All weights of the donor, by name."""
    return Message({k: v.detach().clone() for k, v in donor.model.state_dict().items()})


def rebuild_donor(receiver: Side, message: Message) -> nn.Module:
    """The donor put together again on the receiver's side from what crossed; the same object for the same numbers."""

    def rebuild_once() -> nn.Module:
        copy = deepcopy(receiver.pair.donor)
        copy.load_state_dict({k: message.tensors[k] for k in copy.state_dict()})
        return copy.requires_grad_(False).eval()

    return receiver.access.lens.compute_once(receiver.model, ("donor", message.digest), rebuild_once)
