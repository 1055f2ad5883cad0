"""What pruning buys in bytes and speed, told plainly: dense zeros buy neither."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from digsite.prune.core import groups
from digsite.prune.core.patterns import Pattern, violations


@dataclass(frozen=True)
class Cost:
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
        if self.two_four_bytes is not None:
            return "2:4 valid: faster only on hardware with sparse tensor cores, for large batches"
        return "none: a dense matrix with zeros takes the same time and bytes"


def cost(name: str, keep: Bool[np.ndarray, "out in"], value_bytes: int) -> Cost:
    kept, size = int(keep.sum()), keep.size
    valid = keep.shape[1] % 4 == 0 and violations(torch.from_numpy(keep), Pattern(0.5, 2, 4)) == 0
    columns = np.ascontiguousarray(keep.T)
    return Cost(
        name=name,
        dense_bytes=size * value_bytes,
        mask_bytes=-(-size // 8),
        packed_bytes=kept * value_bytes + -(-size // 8),
        two_four_bytes=size // 2 * value_bytes + size // 8 if valid else None,
        coherence=groups.coherence(columns),
        expected_coherence=groups.expected_coherence(columns),
        density_order=groups.coherence(columns[groups.arrange(columns, "density")]),
    )


def page(costs: Sequence[Cost], matmul: Mapping[str, float] | None = None) -> str:
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
    return {f"2:4 product, {tokens} tokens": _timed(dense, inputs, repeats) / _timed(sparse, inputs, repeats)}


def _timed(weight: Tensor, inputs: Tensor, repeats: int) -> float:
    for _ in range(3):
        torch.mm(weight, inputs)
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        torch.mm(weight, inputs)
    torch.cuda.synchronize()
    return time.perf_counter() - start
