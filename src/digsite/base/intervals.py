"""95 % intervals over a handful of seeds, by the standard library alone: SciPy would cost a server 50 MB for them."""

import math
import statistics
from collections.abc import Sequence

Z = 1.959963984540054  # 97.5 % point of the normal distribution
# The same of Student's t for 1 to 20 degrees of freedom.
_T = (
    12.706205,
    4.302653,
    3.182446,
    2.776445,
    2.570582,
    2.446912,
    2.364624,
    2.306004,
    2.262157,
    2.228139,
    2.200985,
    2.178813,
    2.160369,
    2.144787,
    2.131450,
    2.119905,
    2.109816,
    2.100922,
    2.093024,
    2.085963,
)


def student(
    values: Sequence[float], least: float = -math.inf, most: float = math.inf
) -> tuple[float, float | None, float | None]:
    """Mean and interval of independent repeats, cut to what the quantity can be; one repeat has no interval."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, None, None
    half = t_quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return mean, max(mean - half, least), min(mean + half, most)


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Of a share; it stays between 0 and 1 and has a width also where all or none were hit."""
    share, lean = hits / n, Z**2 / n
    middle = (share + lean / 2) / (1 + lean)
    half = Z / (1 + lean) * math.sqrt(share * (1 - share) / n + lean / (4 * n))
    return (0.0 if hits == 0 else middle - half), (1.0 if hits == n else middle + half)


def t_quantile(degrees: int) -> float:
    """Beyond the table four terms of the Cornish-Fisher expansion are exact to four digits."""
    if degrees <= len(_T):
        return _T[degrees - 1]
    z, n = Z, degrees
    first, second = (z**3 + z) / (4 * n), (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
    return z + first + second + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
