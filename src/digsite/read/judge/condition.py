"""What state are a network's weights in: trained at all, pruned, rounded, dead, doubled, with rows that stand out?

Each finding is set against what a random matrix of the same shape would show, so that "stands out" means something: the
largest of many robust z-scores is large by chance alone, and a few equal values are nothing in a small matrix.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Shaped
from scipy.special import ndtr
from torch import Tensor

from digsite.weights.bundle import shape_of

PATTERNS = ((1, 2), (2, 4), (4, 8))  # n of every m consecutive inputs are kept
GRIDS = (4, 8)  # bits of a per-row grid that is looked for
LEVEL = 0.01
_ROWS_READ = 4096  # rows of a matrix that rows' own grids are looked for in
_NULL_DRAWS = 400
_READ = 1 << 20  # numbers of a matrix that are tried on a coarser format
_BLOCK = 1 << 19  # numbers that are held in float32 at once
_SAMPLE = 16_384  # entries of a matrix that are compared with those of another


@dataclass(frozen=True)
class TensorCondition:
    """One tensor: its share of exact zeros, an n:m pattern, the coarsest number format or grid that holds all values,
    rows that are zero throughout, and the row whose norm stands out most with its p-value among random rows.
    """

    name: str
    shape: tuple[int, ...]
    not_finite: int
    zeros: float
    pattern: str  # such as "2:4", empty where there is none
    pattern_p: float  # chance of the pattern in a random mask of as many zeros
    grid: str  # "bfloat16", "float16", "8 bits a row" ..., empty for full precision
    dead_rows: int
    outlier: int
    outlier_z: float
    outlier_p: float


def check_condition(name: str, weight: Tensor) -> TensorCondition:
    """What one tensor `weight` (rows are outputs) shows; vectors are read as one row.

    A block of rows at a time is held in float32: a vocabulary's embedding is a fifth of some models.
    """
    flat = weight.detach()
    flat = flat.flatten(1) if flat.ndim > 1 else flat[None]
    bad = nothing = dead = 0
    norms = []
    for rows in split_rows(flat):
        bad += int((~torch.isfinite(rows)).sum())
        rows = torch.nan_to_num(rows, 0.0, 0.0, 0.0)
        nothing += int((rows == 0).sum())
        dead += int((rows.abs().amax(1) == 0).sum())
        norms.append(rows.norm(dim=1))
    zeros = nothing / flat.numel()
    pattern, pattern_p = find_pattern(flat, zeros)
    z, row, p = find_outlier(torch.cat(norms))
    return TensorCondition(
        name,
        tuple(weight.shape),
        bad,
        zeros,
        pattern,
        pattern_p,
        find_number_grid(flat),
        dead if len(flat) > 1 else 0,  # a vector is no output that nothing feeds
        row,
        z,
        p,
    )


def split_rows(flat: Tensor) -> Iterator[Tensor]:
    """Blocks of rows in float32."""
    for rows in flat.split(max(1, _BLOCK // flat.shape[1])):
        yield rows.float()


def find_pattern(flat: Shaped[Tensor, "rows columns"], zeros: float) -> tuple[str, float]:
    """The n:m pattern that all groups of consecutive inputs keep, and its chance among masks of as many zeros.

    A denser pattern is implied by a sparser one of the same share (1:2 keeps 2:4), so the strictest is named.
    """
    if not 0.2 < zeros < 0.99:
        return "", 1.0
    for kept, group in PATTERNS:
        if flat.shape[1] % group:
            continue
        fewest = min(
            int((rows.reshape(-1, group) == 0).sum(-1, dtype=torch.int8).min()) for rows in split_rows(flat)
        )
        if fewest >= group - kept:
            chance = sum(
                math.comb(group, k) * zeros**k * (1 - zeros) ** (group - k)
                for k in range(group - kept, group + 1)
            )
            return f"{kept}:{group}", float(np.exp(flat.numel() // group * math.log(max(chance, 1e-300))))
    return "", 1.0


def find_number_grid(flat: Shaped[Tensor, "rows columns"]) -> str:
    """The coarsest format that holds every value exactly; a random float32 fits bfloat16 once in 65,536 draws.

    A grid of few levels a row, up to a scale of the row's own, is what rounding to 8 or 4 bits leaves.
    """
    thinned = torch.nan_to_num(flat.flatten()[:: max(1, flat.numel() // _READ)].float(), 0.0, 0.0, 0.0)
    values = thinned[thinned != 0]
    if len(values) < 64:
        return ""
    rows = flat[:_ROWS_READ]
    for bits in GRIDS:
        most = max(len(torch.unique(row)) for row in rows[:: max(1, len(rows) // 32)])
        if most <= 2**bits and flat.shape[1] >= 4 * 2**bits:
            return f"{bits} bits a row"
    for dtype, word in ((torch.bfloat16, "bfloat16"), (torch.float16, "float16")):
        if torch.equal(values.to(dtype).float(), values):
            return word
    return ""


def find_outlier(norms: Float[Tensor, "rows"]) -> tuple[float, int, float]:
    """The largest robust z of the logs of rows' norms, its row, and how often random rows show as large a one.

    Norms of random rows are nearly normal, so the null is the largest robust z of as many normal numbers.
    """
    alive = norms > 0
    if int(alive.sum()) < 8:
        return 0.0, 0, 1.0
    logs = norms.clamp_min(1e-30).log()
    middle = logs[alive].median()
    spread = 1.4826 * (logs[alive] - middle).abs().median().clamp_min(1e-12)
    z = ((logs - middle).abs() / spread).masked_fill(~alive, 0.0)
    row = int(z.argmax())
    return float(z[row]), row, chance_of_largest_row(float(z[row]), int(alive.sum()))


def chance_of_largest_row(z: float, n: int) -> float:
    """How often the largest robust z of `n` normal numbers is `z` or more; beyond the draws, by the normal tail."""
    drawn = draw_largest(n if n < 64 else 64 * round(n / 64))
    seen = (1 + int((drawn >= z).sum())) / (len(drawn) + 1)
    if seen > 2 / len(drawn):
        return seen
    return min(
        seen, n * math.erfc(z / 1.25 / math.sqrt(2))
    )  # robust spreads of few rows are short by a fifth at most


@lru_cache(maxsize=64)
def draw_largest(n: int) -> np.ndarray:
    """Largest robust z-scores of `n` normal numbers, 400 draws from a fixed seed."""
    rng = np.random.default_rng(n)
    drawn = rng.standard_normal((_NULL_DRAWS if n <= 4096 else 40, n))
    middle = np.median(drawn, 1, keepdims=True)
    spread = 1.4826 * np.median(np.abs(drawn - middle), 1, keepdims=True)
    return (np.abs(drawn - middle) / spread).max(1)


@dataclass(frozen=True)
class Twins:
    """Two matrices of one shape that are closer than matrices that were drawn apart."""

    first: str
    second: str
    cosine: float
    p: float
    equal: bool


def find_twins(tensors: Iterable[tuple[str, Tensor]]) -> list[Twins]:
    """Pairs of matrices of one shape whose cosine is beyond chance: a layer that was copied, or never moved apart.

    `tensors` are names with weights and may be read one at a time: of each, at most 16,384 entries at fixed places are
    kept. The null is exact enough: the cosine of two independent centered samples of n entries is normal with spread
    1 / sqrt(n). The p-value is corrected for the number of pairs that were looked at.
    """
    groups: dict[tuple[int, ...], list[tuple[str, Tensor]]] = {}
    for name, tensor in tensors:
        if tensor.ndim > 1 and min(tensor.shape) > 3:
            flat = tensor.detach().flatten()
            kept = flat[:: max(1, len(flat) // _SAMPLE)].clone()
            groups.setdefault(tuple(tensor.shape), []).append((name, kept))
    pairs = [(a, b) for members in groups.values() for i, a in enumerate(members) for b in members[i + 1 :]]
    twins = []
    for (first, a), (second, b) in pairs:
        x, y = a.float() - a.float().mean(), b.float() - b.float().mean()
        cosine = float(x @ y / (x.norm() * y.norm()).clamp_min(1e-30))
        p = min(1.0, len(pairs) * math.erfc(abs(cosine) * math.sqrt(len(a) / 2)))
        if abs(cosine) > 0.5 and p < LEVEL:
            twins.append(Twins(first, second, cosine, p, bool(torch.equal(a, b))))
    return sorted(twins, key=lambda pair: -abs(pair.cosine))


# Has this network been trained? Its matrices beside random ones of the same shape.
#
# Initial weights are drawn entry by entry, so their spectra and the norms of their rows follow from the shape alone, for
# every usual distribution of the entries and for every scale. Training adds directions that stand above that: a larger
# first singular value, a smaller effective rank, rows and columns of uneven norm. Each is set against draws of its own
# shape, one-sided, so that an orthogonal start, which is *more* even than chance, does not count as trained.

STATISTICS = ("first singular value", "effective rank", "row norms", "column norms")
TRAINED_LEVEL = 0.01
_DRAWS, _SIDE, _SMALL = 64, 128, 4


@dataclass(frozen=True)
class TensorCheck:
    """One matrix: its four numbers as z-scores of random matrices of that shape, and the p-value of the strongest."""

    name: str
    z: tuple[float, ...]  # one for each of STATISTICS
    p: float
    expected_rank: float  # effective rank of random matrices of this shape
    rank: float


@dataclass(frozen=True)
class Training:
    """`p`: how often a network of random weights looks as trained as this one; `trained` if below the level."""

    p: float
    tensors: tuple[TensorCheck, ...]
    untouched: tuple[str, ...]  # gains that are all one, biases that are all zero

    @property
    def trained(self) -> bool:
        """At a level corrected for the number of matrices."""
        return self.p < TRAINED_LEVEL

    @property
    def answer(self) -> str:
        """In one sentence."""
        beyond = [t for t in self.tensors if t.p * len(self.tensors) < TRAINED_LEVEL]
        if not self.tensors:
            return "no matrix is large enough to be told from a random one."
        if not self.trained:
            which = (
                f"none of its {len(self.tensors)} matrices departs"
                if len(self.tensors) > 1
                else "its matrix does not depart"
            )
            return f"it looks untrained: {which} from random ones of its shape ({say_p(self.p)})."
        shown = max(beyond or self.tensors, key=lambda t: max(t.z))
        return (
            f"its weights are not random: {len(beyond)} of {len(self.tensors)} matrices depart from random ones of their shape ({say_p(self.p)}), "
            f"most {shown.name} (effective rank {shown.rank:.1f}, random {shown.expected_rank:.1f})."
        )


def say_p(p: float) -> str:
    """A p-value in words; what is rarer than 1e-12 is not told apart."""
    return f"p = {p:.2g}" if p >= 1e-12 else "p < 1e-12"


def check_training(tensors: Mapping[str, Tensor]) -> Training:
    """Does a network look trained? What is tested is that its weights are not random: a compiled program passes too. Tensors by name; matrices of fewer than 4 rows or columns say nothing.

    The p-value of the network is that of its strongest matrix times their number.
    """
    shapes = {name: shape_of(tensors, name) for name in tensors}
    matrix_checks = (check_matrix(name, tensors[name]) for name, shape in shapes.items() if len(shape) > 1)
    checks = [check for check in matrix_checks if check is not None]
    long = [name for name, shape in shapes.items() if len(shape) == 1 and shape[0] > 1]
    untouched = [name for name in long if _is_constant(tensors[name])]
    p = min(1.0, min((c.p for c in checks), default=1.0) * max(1, len(checks)))
    return Training(p, tuple(checks), tuple(untouched))


def _is_constant(values: Tensor) -> bool:
    """All ones or all zeros, as gains and biases begin."""
    return bool((values == 1).all()) or bool((values == 0).all())


def check_matrix(name: str, weight: Tensor) -> TensorCheck | None:
    """One matrix against 64 draws of its shape; both are thinned to 128 rows and columns at most."""
    matrix = _thin_matrix(weight.detach().flatten(1)).float()
    rows, columns = matrix.shape
    if min(rows, columns) < _SMALL or float(matrix.std()) == 0:
        return None
    mean, spread = null_statistics(rows, columns)
    own = measure_matrix(matrix[None])[0]
    z = (own - mean) / spread
    p = min(1.0, len(z) * float(ndtr(-float(z.max()))))
    return TensorCheck(
        name, tuple(float(v) for v in z), p, math.exp(-float(mean[1])), math.exp(-float(own[1]))
    )


def _thin_matrix(matrix: Tensor) -> Tensor:
    """Evenly spaced rows and columns of a large one: the test needs no more."""
    for axis in (0, 1):
        if matrix.shape[axis] > _SIDE:
            matrix = matrix.index_select(axis, torch.linspace(0, matrix.shape[axis] - 1, _SIDE).long())
    return matrix


def measure_matrix(matrices: Tensor) -> np.ndarray:
    """(n, 4): logs that do not depend on the scale and that training makes larger."""
    s = torch.linalg.svdvals(matrices).clamp_min(1e-12)
    share = s.square() / s.square().sum(1, keepdim=True)
    entropy = -(share * share.clamp_min(1e-30).log()).sum(1)
    rows, columns = (_log_unevenness(matrices.norm(dim=d)) for d in (2, 1))
    return torch.stack([share[:, 0].log(), -entropy, rows, columns], 1).double().numpy()


def _log_unevenness(norms: Tensor) -> Tensor:
    """Spread of log norms, itself in logarithms."""
    return norms.clamp_min(1e-12).log().std(1, unbiased=False).clamp_min(1e-6).log()


@lru_cache(maxsize=512)
def null_statistics(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the four numbers over random matrices of a shape; the spread a little widened,
    because it is estimated from 64 draws and because entries may be uniform, normal or cut normal.
    """
    g = torch.Generator().manual_seed(rows * 100_003 + columns)
    drawn = torch.randn(_DRAWS, rows, columns, generator=g)
    drawn[::2] = torch.rand(_DRAWS // 2, rows, columns, generator=g) - 0.5
    measured = measure_matrix(drawn)
    return measured.mean(0), 1.15 * measured.std(0, ddof=1) + 1e-9
