"""Random numbers with standard deviations 1/sqrt(d_in) and 1/sqrt(C), as the original code has it."""

from torch import Tensor

from digsite.decompose.core.starts import Seen

ADDS_UP = False


def start(seen: Seen) -> tuple[Tensor, Tensor]:
    """V (d_in, n) and U (n, d_out) that know nothing of the matrix."""
    d_in, d_out = seen.matrix.shape
    v, u = seen.draw("V", d_in, seen.n), seen.draw("U", seen.n, d_out)
    return v / d_in**0.5, u / seen.n**0.5
