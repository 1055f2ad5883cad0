"""Everything that is read off a Gram matrix: singular values, likeness of geometries, intrinsic dimension, and their errors.

One product of rows with rows holds the spectrum (raw, and centered by H G H), the debiased linear CKA of two layers, the distances
that TwoNN asks for, and by an index the bootstrap of all of them. So a layer is multiplied out once, for stacks of layers at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import scipy.linalg
import torch
from jaxtyping import Float
from torch import Tensor

from digsite.base.contract import Numbers, public_method
from digsite.base.errors import UsageError


@dataclass(frozen=True)
class Grams:
    """Inner products of rows; everything else is read off these. Leading axes are layers or members."""

    rows: Float[Tensor, "*stack n n"]
    n_features: int

    @property
    def n(self) -> int:
        """Rows of the table."""
        return self.rows.shape[-1]

    @cached_property
    def centered(self) -> Grams:
        """H G H with H = I - 1/n: what the rows' Gram would be after taking off the mean row."""
        across = self.rows.mean(-1, keepdim=True)
        total = across.mean(-2, keepdim=True)
        return Grams(self.rows - across - across.mT + total, self.n_features)

    @cached_property
    def energy(self) -> Float[Tensor, "*stack"]:
        """Sum of squared singular values, without a decomposition."""
        return self.rows.diagonal(dim1=-2, dim2=-1).sum(-1)

    @cached_property
    def energy2(self) -> Float[Tensor, "*stack"]:
        """Sum of fourth powers of the singular values, without a decomposition."""
        return self.rows.square().sum((-2, -1))

    @cached_property
    def mean_share(self) -> Float[Tensor, "*stack"]:
        """Share of the energy that lies in the mean row."""
        return self.rows.mean((-2, -1)) / keep_positive(self.energy / self.n)

    def spectrum(self) -> Spectrum:
        """Squared singular values as eigenvalues of the Gram matrix, in float64, since squaring loses half of
        the digits.
        """
        values = torch.linalg.eigvalsh(self.rows.double()).flip(-1).clamp_min(0)
        return Spectrum(values[..., : min(self.n, self.n_features)], self.n, self.n_features)


@dataclass(frozen=True)
class Spectrum:
    """Squared singular values, largest first; `n` rows and `n_features` columns gave them."""

    squared: Float[Tensor, "*stack k"]
    n: int
    n_features: int

    @cached_property
    def singular(self) -> Float[Tensor, "*stack k"]:
        """Square roots, with the part below the Gram's rounding floor set to zero."""
        floor = 4 * torch.finfo(torch.float32).eps * self.squared[..., :1]
        return torch.where(self.squared > floor, self.squared, 0.0).sqrt()


def keep_positive(x: Tensor) -> Tensor:
    """A denominator that cannot be zero; a zero matrix then measures zero."""
    return x.clamp_min(torch.finfo(x.dtype).tiny)


def row_grams(activations: Float[Tensor, "*stack n d"]) -> Grams:
    """Gram of the rows in the input's precision."""
    return Grams(activations @ activations.mT, activations.shape[-1])


def check_activations(activations: Tensor, name: str = "the activations") -> Tensor:
    """A two-dimensional, finite, non-empty table of rows."""
    if activations.ndim != 2:
        raise UsageError(
            f"A table of rows x features is needed; {name} have shape {tuple(activations.shape)}."
        )
    if 0 in activations.shape:
        raise UsageError(f"The probe is empty: {name} have shape {tuple(activations.shape)}.")
    if not torch.isfinite(activations).all():
        bad = int((~torch.isfinite(activations)).sum())
        raise UsageError(f"{bad} of {activations.numel()} values of {name} are not finite.")
    return activations


def table_spectrum(table: Float[Tensor, "n d"], *, centered: bool = False) -> Spectrum:
    """Squared singular values through the smaller of the two Gram matrices."""
    n, d = table.shape
    rows = (
        table - table.mean(0) if centered else table
    )  # off first: a Gram of large rows loses their differences
    product = rows @ rows.mT if n <= d else rows.mT @ rows
    values = torch.linalg.eigvalsh(product.double()).flip(-1).clamp_min(0)
    return Spectrum(values, n, d)


def squared_singular(table: Float[Tensor, "n d"]) -> Float[Tensor, "k"]:
    """Squared singular values, largest first, through one triangle of the smaller Gram: half the product.

    SciPy's solver, because torch's takes a fourth longer past 200 rows; on a GPU, torch's own.
    """
    short = table if table.shape[0] <= table.shape[1] else table.mT
    if table.device.type == "cpu" and table.dtype == torch.float32:
        triangle = scipy.linalg.blas.ssyrk(1.0, short.contiguous().numpy().T, trans=1, lower=1)
        eigenvalues = scipy.linalg.eigvalsh(triangle, driver="ev", check_finite=False, overwrite_a=True)
        values = torch.from_numpy(eigenvalues)
    else:
        values = torch.linalg.eigvalsh(short @ short.mT)
    return values.flip(-1).clamp_min(0).double()


def top_energy(
    rows: Float[Tensor, "*stack n n"], start: Float[Tensor, "*stack n"] | None = None, iterations: int = 10
) -> tuple[Float[Tensor, "*stack"], Float[Tensor, "*stack n"]]:
    """Largest eigenvalue and vector by Lanczos with full reorthogonalization; `start` is the last step's vector.

    Written out because SciPy's has no stacks and no warm start on tensors.
    """
    n = rows.shape[-1]
    vector = rows.sum(-1) if start is None else start
    # A little of everything: an exact but wrong eigenvector as the start would never leave its space.
    nudge = torch.linspace(-1, 1, n, dtype=rows.dtype, device=rows.device) / n**0.5
    vector = vector / keep_positive(vector.norm(dim=-1, keepdim=True)) + 1e-2 * nudge
    basis = [vector / keep_positive(vector.norm(dim=-1, keepdim=True))]
    for _ in range(min(iterations, n) - 1):
        span = torch.stack(basis, -1)
        step = (rows @ basis[-1][..., None])[..., 0]
        for _ in range(2):
            step = step - (span @ (span.mT @ step[..., None]))[..., 0]
        basis.append(step / keep_positive(step.norm(dim=-1, keepdim=True)))
    span = torch.stack(basis, -1)
    values, vectors = torch.linalg.eigh(span.mT @ rows @ span)
    return values[..., -1], (span @ vectors[..., -1:])[..., 0]


# Likeness of geometries. Debiased, as the biased form gives .92 for independent noise at n = 64, d = 768.


def unbiased_hsic(
    left: Float[Tensor, "*stack n n"], right: Float[Tensor, "*stack n n"]
) -> Float[Tensor, "*stack"]:
    """Unbiased squared norm of the cross-covariance (Song et al. 2012, eq. 5); diagonals do not count."""
    return _hsic_of_sums(left, right, _Sums.of(left), _Sums.of(right))


NO_GEOMETRY = 50  # rounding errors of a Gram matrix' mean square; a debiased norm below that is no geometry
MOST = 1.5  # debiased values may pass 1 by chance, but beyond this the denominator was noise


@public_method(holes=("",), left=Numbers(), right=Numbers())
def cka(left: Float[Tensor, "*stack n n"], right: Float[Tensor, "*stack n n"]) -> Float[Tensor, "*stack"]:
    """1 for equal geometry, 0 on average for independent noise (the biased form gives .92 at n = 64, d = 768).

    A hole (NaN) where one side has no geometry of its own: its debiased norm is not above what rounding and chance leave,
    and dividing by it once gave 5e37 in 698 of 9,999 samples of a network.

    `left` and `right` are Gram matrices of the same n inputs, stacked in any way.
    """
    if left.shape != right.shape or left.ndim < 2 or left.shape[-1] != left.shape[-2] or left.shape[-1] < 4:
        raise UsageError(
            f"Two Gram matrices of the same rows, at least four, are compared; these have shapes {list(left.shape)} and "
            f"{list(right.shape)}."
        )
    a, b = _Sums.of(left), _Sums.of(right)
    own = [_hsic_of_sums(matrix, matrix, sums, sums) for matrix, sums in ((left, a), (right, b))]
    rounding = NO_GEOMETRY * torch.finfo(left.dtype).eps
    floor = [rounding * matrix.square().mean((-2, -1)) for matrix in (left, right)]
    there = (own[0] > floor[0]) & (own[1] > floor[1])
    similarity = _hsic_of_sums(left, right, a, b) / (own[0] * own[1]).clamp_min(0).sqrt()
    return torch.where(there & (similarity.abs() <= MOST), similarity, torch.nan)


@dataclass(frozen=True)
class _Sums:
    """Diagonal, and row sums and total without it."""

    diagonal: Tensor
    rows: Tensor
    total: Tensor

    @staticmethod
    def of(matrix: Tensor) -> _Sums:
        """What unbiased HSIC needs of a Gram matrix, its diagonal left out."""
        diagonal = matrix.diagonal(dim1=-2, dim2=-1)
        rows = matrix.sum(-1) - diagonal
        return _Sums(diagonal, rows, rows.sum(-1))


def _hsic_of_sums(left: Tensor, right: Tensor, a: _Sums, b: _Sums) -> Tensor:
    """Song et al.'s unbiased estimator from these sums."""
    n = left.shape[-1]
    trace = torch.linalg.vecdot(left.flatten(-2), right.flatten(-2)) - torch.linalg.vecdot(
        a.diagonal, b.diagonal
    )
    sums = a.total * b.total / ((n - 1) * (n - 2))
    cross = torch.linalg.vecdot(a.rows, b.rows) * (2 / (n - 2))
    return (trace + sums - cross) / (n * (n - 3))


# Intrinsic dimension, by TwoNN (Facco et al. 2017): the law of the ratio of the two nearest neighbors' distances.


def squared_distances(grams: Grams) -> Float[Tensor, "*stack n n"]:
    """|x_i - x_j|^2 from the Gram matrix."""
    norms = grams.rows.diagonal(dim1=-2, dim2=-1)
    return (norms[..., :, None] + norms[..., None, :] - 2 * grams.rows).clamp_min(0)


def two_nn(squared: Float[Tensor, "*stack n n"]) -> Float[Tensor, "*stack"]:
    """Maximum likelihood of d from P(r2/r1 > m) = m^-d; (N - 1) / sum log m is its unbiased form.

    Of rows that are equal up to rounding one stays; nan when fewer than ten are left.
    """
    n = squared.shape[-1]
    floor = 64 * torch.finfo(squared.dtype).eps * squared.amax((-2, -1), keepdim=True)
    twins = (squared <= floor).tril(-1).any(-1)
    hidden = twins[..., :, None] | twins[..., None, :] | torch.eye(n, dtype=torch.bool, device=squared.device)
    apart = squared.double().masked_fill(hidden, torch.inf)
    first, nearest = apart.min(-1, keepdim=True)  # twice a minimum: topk takes several times as long
    second = apart.scatter(-1, nearest, torch.inf).amin(-1, keepdim=True)
    logs = torch.where(twins, 0.0, 0.5 * torch.log(second / first)[..., 0])
    kept, total = n - twins.sum(-1), logs.sum(-1)
    return torch.where((kept >= 10) & (total > 0), (kept - 1) / total, torch.nan)


def two_nn_scan(
    squared: Float[Tensor, "n n"], generator: torch.Generator, levels: int = 4
) -> list[tuple[int, float]]:
    """TwoNN on random halves, quarters ...: fewer points mean larger distances. A flat scan means one dimension."""
    n = len(squared)
    order = torch.randperm(n, generator=generator)
    scan = []
    for level in range(levels):
        size = n >> level
        if size < 16:
            break
        parts = [order[k * size : (k + 1) * size] for k in range(1 << level)]
        values = two_nn(torch.stack([squared[part][:, part] for part in parts]))
        scan.append((size, float(values.nanmean())))
    return scan


# What a finite probe does to a dimension: bootstrap bars at the price of an index, bias correction, and the cap.


def bootstrap_dimension(
    grams: Grams, generator: torch.Generator, draws: int = 100
) -> tuple[Float[Tensor, "draws"], Float[Tensor, "draws"]]:
    """Variance participation ratio, raw and centered, of resampled rows.

    A row drawn twice is the same row: the resampled Gram is an index of the Gram, no product is repeated. The
    bootstrap of a dimension is biased low like the dimension itself, so use its spread, not its mean.
    """
    raw, centered = [], []
    for _ in range(draws):
        rows = torch.randint(grams.n, (grams.n,), generator=generator)
        again = Grams(grams.rows[..., rows[:, None], rows[None, :]], grams.n_features)
        raw.append(again.energy.square() / again.energy2)
        centered.append(again.centered.energy.square() / again.centered.energy2)
    return torch.stack(raw).squeeze(), torch.stack(centered).squeeze()


def unbiased_participation(grams: Grams, *, centered: bool = True) -> Float[Tensor, "*stack"]:
    """Variance participation ratio from unbiased estimates of (tr C)^2 and tr C^2.

    Raw: U-statistics over pairs of rows. Centered: tr C^2 is the unbiased HSIC of the rows with themselves, and the
    square of the trace loses 2 tr C^2 / (n - 1), its variance for Gaussian rows.
    """
    n = grams.n
    if centered:
        fourth = unbiased_hsic(grams.rows, grams.rows)
        second = (grams.centered.energy / (n - 1)).square() - 2 * fourth / (n - 1)
    else:
        diagonal = grams.rows.diagonal(dim1=-2, dim2=-1)
        pairs = n * (n - 1)
        fourth = (grams.energy2 - diagonal.square().sum(-1)) / pairs
        second = (grams.energy.square() - diagonal.square().sum(-1)) / pairs
    return second / fourth.clamp_min(torch.finfo(fourth.dtype).tiny)


def bounded_by_rows(dimension: float, n: int) -> bool:
    """A dimension above a quarter of the rows says more about the probe than about the network."""
    return dimension > n / 4
