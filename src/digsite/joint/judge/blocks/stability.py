"""How stable is it: what noise and rounding of the weights do to its answers on a few inputs."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from digsite.joint.core.statements import Allowance, Answer, Statement, skip
from digsite.joint.subjects.model import Subject
from digsite.prune.judge.perplexity import has_logits, measure_drift, outputs_of

ORDER, QUESTION, WEIGHT = 7, "How stable is it?", 3.0
DEEPER = "digsite run graft-roundtrips"
NOISE = (0.01, 0.1)
BITS = (8, 4)
LARGEST = 300_000_000  # parameters of a model whose matrices are kept while they are changed


def examine(subject: Subject, allowance: Allowance) -> Answer:
    """Each change on a copy, beside an output that ignores its input, and beside the same weights run again."""
    module = subject.opened.module
    if module is None:
        return skip(f"it cannot be run here: {subject.opened.why_not}")
    if subject.batch is None:
        return skip("there is nothing to feed it (--text FILE or --data SET)")
    size = sum(p.numel() for p in module.parameters())
    if size > LARGEST:
        return skip(f"it has {size:,} parameters, and copies are made up to {LARGEST:,}")
    logits = has_logits(module) or subject.answers.ndim > 2
    statements, left_out = [], []
    changes = [
        (f"noise of {share:.0%} of each matrix's size", lambda m, s=share: add_noise(m, s, subject.seed))
        for share in NOISE
    ]
    changes += [(f"rounding to {bits} bits a row", lambda m, b=bits: round_weights(m, b)) for bits in BITS]
    for what, change in changes:
        if allowance.is_used and statements:
            left_out.append(what)
            continue
        with put_back_after(module):
            drift = measure_drift(subject.answers, outputs_of(change(module), subject.batch), logits)
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
                quote="8 bits" in what,
            )
        )
    return Answer(tuple(statements), f"{', '.join(left_out)} for lack of time" if left_out else "")


@contextmanager
def put_back_after(module: nn.Module) -> Iterator[None]:
    """The matrices of `module` as they were, whatever is done to them inside; a copy of the module would cost as much
    again as it does, and what was stored in sixteen bits is kept in sixteen bits here."""
    kept = [(p, _store_narrow(p.detach())) for p in module.parameters() if p.ndim > 1]
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, values in kept:
                parameter.copy_(values)


def _store_narrow(values: Tensor) -> Tensor:
    """The same numbers in the narrowest of two types that holds them all exactly."""
    short = values.to(torch.bfloat16)
    return short if torch.equal(short.to(values.dtype), values) else values.clone()


@torch.no_grad()
def add_noise(module: nn.Module, share: float, seed: int) -> nn.Module:
    """Normal noise on every matrix, `share` of its root mean square, in place; fixed by `seed`."""
    draw = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        if parameter.ndim > 1:
            size = float(parameter.square().mean(dtype=torch.float32).sqrt())
            for rows in parameter.flatten(1).split(
                1024
            ):  # a whole embedding's noise would cost as much as it does
                rows += torch.randn(rows.shape, generator=draw).to(rows) * (share * size)
    return module


@torch.no_grad()
def round_weights(module: nn.Module, bits: int) -> nn.Module:
    """Every matrix to a symmetric grid of `bits` bits, one scale a row, in place."""
    steps = 2 ** (bits - 1) - 1
    for parameter in module.parameters():
        if parameter.ndim > 1:
            for rows in parameter.split(1024):
                largest = rows.flatten(1).abs().amax(1).view(-1, *[1] * (rows.ndim - 1))
                scale = largest.clamp_min(1e-12) / steps
                rows.copy_((rows / scale).round() * scale)
    return module
