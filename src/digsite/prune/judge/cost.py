"""What pruning will take, said before it starts, and what it buys in bytes and speed: dense zeros buy neither."""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from digsite.models.opening.feeding import Batch
from digsite.prune.core import hamming, layers
from digsite.prune.core.layers import LinearMap
from digsite.prune.core.model import PrunedMap
from digsite.prune.core.patterns import SparsityPattern, count_violations
from digsite.prune.core.repair.maps import UNDER
from digsite.prune.core.walk import n_rows_of


@dataclass(frozen=True)
class MapCost:
    """One map. `two_four_bytes` is NVIDIA's compressed form (half the values, two bits of place each), where it is valid."""

    name: str
    dense_bytes: int
    mask_bytes: int
    packed_bytes: int  # kept values and one bit per weight
    two_four_bytes: int | None
    coherence: float
    expected_coherence: float
    density_order: float

    @property
    def speedup(self) -> str:
        """Said even where it is nothing: zeros in a dense matrix are multiplied like any number."""
        if self.two_four_bytes is not None:
            return "2:4 valid: faster only on hardware with sparse tensor cores, for large batches"
        return "none: a dense matrix with zeros takes the same time and bytes"


def measure_cost(name: str, keep: Bool[np.ndarray, "out in"], value_bytes: int) -> MapCost:
    """Bytes of a mask in the formats that people use."""
    kept, size = int(keep.sum()), keep.size
    pattern = SparsityPattern(0.5, 2, 4)
    some = (keep[:16], keep)  # the first rows say no for nearly all masks that are not
    valid = keep.shape[1] % 4 == 0 and all(
        count_violations(torch.from_numpy(part), pattern) == 0 for part in some
    )
    order = hamming.arrange_features(keep.T, "density")
    return MapCost(
        name=name,
        dense_bytes=size * value_bytes,
        mask_bytes=-(-size // 8),
        packed_bytes=kept * value_bytes + -(-size // 8),
        two_four_bytes=size // 2 * value_bytes + size // 8 if valid else None,
        coherence=hamming.measure_coherence(keep.T),
        expected_coherence=hamming.expected_coherence(keep),
        density_order=hamming.measure_coherence(
            np.take(keep, order, axis=1).T
        ),  # many times as fast as keep.T[order]
    )


def write_page(costs: Sequence[MapCost], matmul: Mapping[str, float] | None = None) -> str:
    """The size-and-speed page as text."""
    dense, packed = (sum(getattr(c, field) for c in costs) for field in ("dense_bytes", "packed_bytes"))
    valid = [c for c in costs if c.two_four_bytes is not None]
    lines = [
        "# Size and speed",
        "",
        f"- pruned maps, stored dense: {dense:,} bytes (unchanged by pruning)",
        f"- kept values and one bit per weight: {packed:,} bytes ({packed / dense:.0%})",
        f"- masks alone: {sum(c.mask_bytes for c in costs):,} bytes",
        f"- valid 2:4: {len(valid)} of {len(costs)} maps",
        f"- blocks of 8 inputs with nothing kept: {np.mean([c.coherence for c in costs]):.4f} of all "
        f"(coin flips: {np.mean([c.expected_coherence for c in costs]):.4f}; "
        f"inputs sorted by density: {np.mean([c.density_order for c in costs]):.4f})",
    ]
    if matmul:
        lines += [f"- measured {name}: {value:.2f}x the dense speed" for name, value in matmul.items()]
    else:
        lines.append(
            "- measured matrix products: none, this machine has no 2:4 hardware; expect no speedup from dense zeros"
        )
    return "\n".join(lines) + "\n"


def measure_two_four(weight: Tensor, tokens: int = 4096, repeats: int = 20) -> dict[str, float]:
    """Speed of the 2:4 product over the dense one, on a GPU that has it; nothing elsewhere."""
    if not torch.cuda.is_available() or torch.cuda.get_device_capability() < (8, 0):
        return {}
    dense = weight.cuda().half()
    inputs = torch.randn(dense.shape[1], tokens, device="cuda", dtype=torch.half)
    sparse = torch.sparse.to_sparse_semi_structured(dense)
    return {
        f"2:4 product, {tokens} tokens": _time_product(dense, inputs, repeats)
        / _time_product(sparse, inputs, repeats)
    }


def _time_product(weight: Tensor, inputs: Tensor, repeats: int) -> float:
    """Seconds on the device, after a warm-up and between two synchronizations."""
    for _ in range(3):
        torch.mm(weight, inputs)
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        torch.mm(weight, inputs)
    torch.cuda.synchronize()
    return time.perf_counter() - start


# How much faster a smaller model really is: both are run in turns and timed in CPU-seconds.
#
# Turns, because a machine that gets busy slows both; CPU-seconds, because a wall clock on a shared machine measures the
# others; the median, because a first call also loads what it needs.


@dataclass(frozen=True)
class SpeedRatio:
    """CPU-seconds of one forward pass of each model, every repeat; `ratio` is how many times faster the second is."""

    before: tuple[float, ...]
    after: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Of medians: one slow turn is another process."""
        return statistics.median(self.before) / statistics.median(self.after)

    @property
    def ratios(self) -> list[float]:
        """One ratio per pair of turns: what an interval is made of."""
        return [b / a for b, a in zip(self.before, self.after, strict=True)]


@torch.no_grad()
def compare_speed(
    before: nn.Module, after: nn.Module, tokens: Int[Tensor, "rows tokens"], repeats: int = 5
) -> SpeedRatio:
    """Time `repeats` turns of both models on the same tokens, after one turn that is not counted."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeats + 1):
        for model, taken in zip((before, after), times, strict=True):
            start = time.process_time()
            model(tokens)
            if turn:
                taken.append(max(time.process_time() - start, 1e-9))
    return SpeedRatio(tuple(times[0]), tuple(times[1]))


# What a pruning covers and how long it will take, said before anything is spent.

OVERHEAD = 1.5  # attention, norms and the methods themselves, over the matrix products of the maps


def say_coverage(model: torch.nn.Module, kind: str, chosen: Sequence[LinearMap]) -> str:
    """Which share of the parameters will be pruned, and what is left alone, by reason."""
    total = sum(p.numel() for p in model.parameters())
    covered = sum(entry.size for entry in chosen)
    left = "; ".join(f"{entry.reason} {entry.share:.1%}" for entry in layers.left_alone(model, chosen))
    return (
        f"{type(model).__name__} ({kind}): {len(chosen)} linear maps hold {covered / max(total, 1):.1%} of {total:,} "
        f"parameters; left as they are: {left or 'nothing'}"
    )


def say_cost(
    batch: Batch,
    chosen: Sequence[LinearMap],
    exact: bool,
    device: str,
    wanted: int,
    kind: torch.dtype | None = None,
) -> str:
    """Rows and tokens of the calibration, and the time they take by the speed of one matrix product here.

    `exact` methods also make X^T X; `wanted` is how many rows were asked for, where the data may have had fewer; `kind` is
    the type in which products are made.
    """
    first = batch if isinstance(batch, Tensor) else next(iter(batch.values()))
    rows = n_rows_of(batch)
    if first.is_floating_point():
        return f"calibration: {rows} rows of {tuple(first.shape[1:])}"
    named: list[Tensor] = [first] if isinstance(batch, Tensor) else list(batch.values())
    tokens = sum(value.numel() for value in named if not value.is_floating_point())
    work = 4.0 * tokens * sum(linear.size for linear in chosen)
    if exact:
        work += 1.2 * tokens * sum(linear.n_inputs**2 for linear in chosen)  # q, k and v share theirs
    short = f" (the text has no more; {wanted} were wanted)" if rows < wanted else ""
    return (
        f"calibration: {rows} sequences of {tokens // rows} tokens{short}: {tokens:,} tokens, about "
        f"{_say_duration(OVERHEAD * work / measure_throughput(device, kind=kind))} on this machine; fewer or shorter sequences cost less in "
        "proportion"
    )


def measure_throughput(
    device: Any, size: int = 512, repeats: int = 4, kind: torch.dtype | None = None
) -> float:
    """Operations per second of a matrix product."""
    a = torch.rand(size, size, device=device, dtype=kind)
    (a @ a).sum().item()
    start = time.perf_counter()
    for _ in range(repeats):
        torch.mm(a, a)
    (a @ a).sum().item()
    return 2.0 * size**3 * (repeats + 1) / max(time.perf_counter() - start, 1e-9)


def _say_duration(seconds: float) -> str:
    """In the unit that a person would use."""
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def say_result(ledger: Sequence[PrunedMap]) -> list[str]:
    """What really went, over all maps, and what was not pruned as asked."""
    size = sum(_count_weights(line) for line in ledger)
    gone = sum(line.sparsity * _count_weights(line) for line in ledger)
    lines = [f"pruned: {gone / max(size, 1):.2%} of the {size:,} weights of {len(ledger)} maps"]
    clauses = [(line, clause) for line in ledger for clause in line.note.split("; ")]
    worth_saying = ("left", "no calibration token", UNDER)
    for note in sorted({clause for _, clause in clauses if clause.startswith(worth_saying)}):
        named = [line for line, clause in clauses if clause == note]
        share = sum(_count_weights(line) for line in named) / max(size, 1)
        lines.append(f"{len(named)} maps ({share:.1%} of these weights), first {named[0].name}: {note}")
    return lines


def _count_weights(line: PrunedMap) -> int:
    """From the packed mask."""
    return line.mask.n_features * line.mask.n_bits
