"""How stable is it: what noise and rounding of the weights do to its answers on a few inputs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from digsite.base.streams import derive_seed
from digsite.joint.core.statements import Allowance, Answer, Statement, skip
from digsite.joint.subjects.model import Subject
from digsite.prune.judge.perplexity import has_logits, measure_drift

ORDER, QUESTION, WEIGHT = 7, "How stable is it?", 3.0
DEEPER = "digsite run graft-roundtrips"
NOISE = (0.01, 0.1)
BITS = (8, 4)
ROWS = 1024  # of a matrix that are changed at once: a whole embedding's noise would cost as much as it does
LARGEST = 300_000_000  # parameters of a model in memory, whose matrices are kept while they are changed
Change = Callable[[str, Tensor], None]  # of a matrix in place, by its name


def examine(subject: Subject, allowance: Allowance) -> Answer:
    """Each change in turn, beside an output that ignores its input."""
    module = subject.opened.module
    if module is None:
        return skip(f"it cannot be run here: {subject.opened.why_not}")
    if subject.batch is None:
        return skip("there is nothing to feed it (--text FILE or --data SET)")
    if subject.streamed is None and subject.size > LARGEST:
        return skip(f"it has {subject.size:,} parameters, and copies are made up to {LARGEST:,}")
    before = subject.answers
    logits = has_logits(module) or subject.speaks  # hidden states of an encoder are no distributions
    statements, left_out = [], []
    changes = [
        (f"noise of {share:.0%} of each matrix's size", add_noise(share, subject.seed)) for share in NOISE
    ]
    changes += [(f"rounding to {bits} bits a row", round_rows(bits)) for bits in BITS]
    for what, change in changes:
        if allowance.is_used and statements:
            left_out.append(what)
            continue
        with while_changed(subject, change):
            drift = measure_drift(before, subject.run(), logits)
        kept = (
            ""
            if drift.agreement is None
            else f", the first answer stays in {drift.agreement:.1%} (always the commonest: {drift.agreement_null:.1%})"
        )
        statements.append(
            Statement(
                what.replace(" ", "-"),
                f"output moved by {what}",
                f"After {what}, {drift.what} moved by {drift.distance:.3g} where one that ignores its input moves by {drift.null:.3g}{kept}.",
                "an output that ignores its input",
                drift.distance,
                drift.low,
                drift.high,
                drift.null,
                n=drift.n_rows,
                better="lower",
                quote="8 bits" in what,
            )
        )
    return Answer(tuple(statements), f"{', '.join(left_out)} for lack of time" if left_out else "")


@contextmanager
def while_changed(subject: Subject, change: Change) -> Iterator[None]:
    """Every matrix changed inside and as it was afterwards. A copy of the module would cost as much again as it does: what was
    stored in sixteen bits is kept in sixteen bits, and weights that come from their file are changed on their way."""
    module = subject.opened.need_module("be run")
    if subject.streamed is not None:
        subject.streamed.change = change
        try:
            yield
        finally:
            subject.streamed.change = None
        return
    kept = [(p, _store_narrow(p.detach())) for p in module.parameters() if p.ndim > 1]
    try:
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                change(name, parameter)
        yield
    finally:
        with torch.no_grad():
            for parameter, values in kept:
                parameter.copy_(values)


def _store_narrow(values: Tensor) -> Tensor:
    """The same numbers in the narrowest of two types that holds them all exactly."""
    short = values.to(torch.bfloat16)
    return short if torch.equal(short.to(values.dtype), values) else values.clone()


def add_noise(share: float, seed: int) -> Change:
    """Normal noise of `share` of a matrix's root mean square, fixed by `seed` and the matrix's name."""

    @torch.no_grad()
    def change(name: str, weight: Tensor) -> None:
        if weight.ndim > 1:
            draw = torch.Generator().manual_seed(derive_seed(seed, f"noise/{name}"))
            size = float(torch.linalg.vector_norm(weight, dtype=torch.float32)) / weight.numel() ** 0.5
            for rows in weight.flatten(1).split(ROWS):
                rows += torch.randn(rows.shape, generator=draw).to(rows) * (share * size)

    return change


def round_rows(bits: int) -> Change:
    """A matrix to a symmetric grid of `bits` bits, one scale a row."""
    steps = 2 ** (bits - 1) - 1

    @torch.no_grad()
    def change(name: str, weight: Tensor) -> None:
        for rows in weight.split(ROWS) if weight.ndim > 1 else ():
            largest = rows.flatten(1).abs().amax(1).view(-1, *[1] * (rows.ndim - 1))
            scale = largest.clamp_min(1e-12) / steps
            rows.copy_((rows / scale).round() * scale)

    return change
