"""Level changes by likelihood: is a series with one or two of them likelier than any noise without them?

Filters look at one place at a time, and of two jumps each makes the other's noise look slow. Here the noise (a process of
one root or a walk, with measurement noise over it) is fitted anew for no change, for the best one and for the best two, on
a level base, and the three are compared by a Student likelihood, under which a single large shock is no jump. Without
changes any autoregression that is fitted to the series itself may stand for the noise as well, whatever it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import irfft, next_fast_len, rfft
from scipy.linalg import solve_toeplitz

from digsite.track.core.contrasts import rise_profile
from digsite.track.core.whittle import student_score

ROOTS = (0.0, 0.4, 0.65, 0.8, 0.9, 0.95, 0.98)
SHARES = (0.0, 0.1, 0.4, 1.5, 6.0)  # variance of the measurement noise over that of the process
WALK_SHARES = (0.0, 0.5, 2.0, 8.0, 30.0)  # and over that of a walk's steps
WALK_ROOTS = (0.5, 0.8)  # memory of a walk's steps
WALKED = (0.5, 0.8)  # a process on a walk, WALKED_SHARES times the variance of its steps
WALKED_SHARES = (1.5, 6.0, 25.0, 100.0)
LONG_MEMORIES = (0.7, 0.8, 0.9, 0.97)  # Hurst exponents of noise with long memory
PAIRS = ((0.5, 0.98), (0.8, 0.98))  # two processes at once, the faster of PAIR_SHARES times the variance
PAIR_SHARES = (0.2, 0.6, 2.0)
FRACTIONAL = (0.2, 0.35)  # and of the steps of a fractional motion
WIDTHS = (1, 10)
SLOW_WIDTHS = (30, 60)  # a rise over so many samples is a course
LONG = 150
REACH = (6, 16)  # samples a filter looks back, below and from LONG
EDGE = 6
APART = 12
ORDERS = (1, 2, 4, 8, 12)  # of autoregressions fitted to the series itself
SHOCK = 8.0  # of twice the log-likelihood, what the one sample in which a step comes may count: a shock is no jump
BEYOND_COURSE = 3.0  # what changes must gain over the best smooth course
COURSE = 4  # degree of the smooth courses
SHOCKS = 6  # steps of a walk that may be large at once
HEAVY = 3.0  # freedom of the steps of a heavy walk
HEAVY_SCALE = 1.3  # deviations of what is left of such steps without the largest, over their scale
LIKELIEST = 6  # noises that are scored in full


@dataclass(frozen=True)
class Filters:
    """What makes each noise white on `samples` samples, and what it makes of a change at each place.

    `taps` (models, reach + 1); `response` (models, widths, N) of a change at the first place, `spectra` its transform;
    `norm` (models, widths, places) its length at each place without a mean; `courses` (2, models, N, 4) whitened
    polynomials in time and in log time, orthonormal.
    """

    taps: np.ndarray
    response: np.ndarray
    spectra: np.ndarray
    norm: np.ndarray
    places: np.ndarray
    starts: np.ndarray
    courses: np.ndarray
    length: int


@lru_cache(maxsize=2)
def noise_taps(reach: int) -> np.ndarray:
    """(models, reach + 1) prediction-error filters of all noises, newest sample first."""
    rows = []
    lags = np.arange(reach + 1)
    for root in ROOTS:
        for share in SHARES if root else SHARES[:1]:
            covariance = np.where(lags == 0, 1.0 + share, root**lags)
            rows.append(np.r_[1.0, -solve_toeplitz(covariance[:-1], covariance[1:])])
    for share in WALK_SHARES:
        covariance = np.r_[1 + 2 * share, -share, np.zeros(reach - 2)]
        steps = np.r_[1.0, -solve_toeplitz(covariance[:-1], covariance[1:])] if share else np.ones(1)
        rows.append(np.convolve(steps, [1.0, -1.0]))
    rows += [np.convolve([1.0, -root], [1.0, -1.0]) for root in WALK_ROOTS]
    for root in WALKED:
        process = root ** np.arange(reach + 1)
        for share in WALKED_SHARES:
            covariance = share * (2 * process[:-1] - process[1:] - process[np.abs(np.arange(reach) - 1)])
            covariance[0] += 1
            steps = np.r_[1.0, -solve_toeplitz(covariance[:-1], covariance[1:])]
            rows.append(np.convolve(steps, [1.0, -1.0]))
    for fast, slow in PAIRS:
        for share in PAIR_SHARES:
            covariance = share * fast**lags + slow**lags
            rows.append(np.r_[1.0, -solve_toeplitz(covariance[:-1], covariance[1:])])
    for hurst in LONG_MEMORIES:
        covariance = long_memory_covariance(hurst, reach + 1)
        rows.append(np.r_[1.0, -solve_toeplitz(covariance[:-1], covariance[1:])])
    for hurst in FRACTIONAL:
        covariance = long_memory_covariance(hurst, reach)
        steps = np.r_[1.0, -solve_toeplitz(covariance[:-1], covariance[1:])]
        rows.append(np.convolve(steps, [1.0, -1.0]))
    return np.stack([np.r_[row, np.zeros(reach + 1 - len(row))] for row in rows])


def long_memory_covariance(hurst: float, count: int) -> np.ndarray:
    """(count,) autocovariance of fractional Gaussian noise."""
    k = np.arange(count)
    return 0.5 * ((k + 1.0) ** (2 * hurst) - 2.0 * k ** (2 * hurst) + np.abs(k - 1.0) ** (2 * hurst))


@lru_cache(maxsize=4)
def plan_filters(samples: int) -> Filters:
    """Everything that depends on the number of samples alone."""
    reach = REACH[samples >= LONG]
    taps = noise_taps(reach)
    count = samples - reach
    time = np.arange(count)
    widths = WIDTHS + SLOW_WIDTHS
    response = np.zeros((len(taps), len(widths), count))
    for k, width in enumerate(widths):
        profile = rise_profile(time - width // 2 + 0.5, width)
        for row, tap in zip(response[:, k], taps, strict=True):
            row[:] = np.convolve(profile, tap)[:count]
    places = np.arange(reach + max(WIDTHS) // 2, samples - EDGE)
    starts = np.stack([places - width // 2 - reach for width in widths])
    energy, total = (np.cumsum(r, axis=-1) for r in (response**2, response))
    left = count - 1 - np.maximum(starts, 0)
    norm = np.stack([energy[:, k, row] - total[:, k, row] ** 2 / count for k, row in enumerate(left)], 1)
    norm = np.where(starts[None] < 0, np.inf, np.sqrt(np.maximum(norm, 1e-12 * norm.max())))
    length = int(next_fast_len(2 * count, real=True) or 2 * count)
    return Filters(
        taps,
        response,
        np.asarray(rfft(response, length)).conj(),
        norm,
        places,
        np.maximum(starts, 0),
        whiten_courses(samples, taps),
        length,
    )


def whiten_courses(samples: int, taps: np.ndarray) -> np.ndarray:
    """(2, models, N, COURSE) orthonormal whitened polynomials in time and in log time, without a mean."""
    out = []
    for clock in (np.arange(samples), np.log1p(np.arange(samples))):
        u = 2 * (clock - clock[0]) / (clock[-1] - clock[0]) - 1
        columns = np.polynomial.chebyshev.chebvander(u, COURSE)[:, 1:]
        white = np.stack([np.stack([np.convolve(c, tap, "valid") for c in columns.T], 1) for tap in taps])
        out.append(np.linalg.qr(white - white.mean(1, keepdims=True))[0])
    return np.stack(out)


@dataclass(frozen=True)
class LikelyChanges:
    """The best one or two changes: places, widths, sizes, and twice the log-likelihood they gain over any noise alone.

    `course` is what the best smooth course gains in their stead, `bent` what one still gains beside them.
    """

    places: np.ndarray
    widths: np.ndarray
    sizes: np.ndarray
    gain: float
    course: float
    bent: float

    def profiles(self, samples: int) -> np.ndarray:
        """(changes, samples), each change alone."""
        time = np.arange(samples)
        changes = zip(self.places.tolist(), self.widths.tolist(), self.sizes.tolist(), strict=True)
        return np.stack([size * rise_profile(time - at + 0.5, width) for at, width, size in changes])

    def evidence(self, quantum: np.ndarray) -> float:
        """Of the gain what the changes have beyond one step of the lattice; none where a smooth course does as well."""
        if self.gain - self.course < BEYOND_COURSE:
            return -np.inf
        size = np.abs(self.sizes)
        beyond = np.maximum(size - quantum[self.places], 0) / np.maximum(size, 1e-300)
        return float(beyond.min()) ** 2 * self.gain


@dataclass(frozen=True)
class Scan:
    """A series made white under each noise (models, N), and the best change and pair of changes in each.

    `left` (3, models) is what no change, one and two leave of the sum of squares; `chosen` (2, models) are the flat
    indices of the first and the second among widths and places.
    """

    white: np.ndarray
    left: np.ndarray
    chosen: np.ndarray

    def gaussian_gains(self) -> tuple[float, float]:
        """Twice the log-likelihood that one change and two gain when the noise is Gaussian."""
        none, single, two = np.log(np.maximum(self.left.min(axis=1), 1e-300)) * self.white.shape[1]
        return float(none - single), float(none - two)


def whiten_values(values: np.ndarray, plan: Filters) -> np.ndarray:
    """(models, N) what each noise's filter makes of `values` (n,), without a mean."""
    white = sliding_window_view(values, plan.taps.shape[1]) @ plan.taps[:, ::-1].T
    return (white - white.mean(0)).T


def scan_changes(values: np.ndarray, plan: Filters) -> Scan:
    """The best change and the best second beside it, under each noise."""
    white = whiten_values(values, plan)
    every = np.arange(len(white))
    gain = correlate_changes(white, plan)
    first = np.abs(gain).reshape(len(white), -1).argmax(1)
    size = gain.reshape(len(white), -1)[every, first]
    likeness = correlate_changes(changed_rows(plan, first), plan)
    beside = (gain - size[:, None, None] * likeness) ** 2 / np.maximum(1 - likeness**2, 1e-2)
    near = np.abs(plan.places[None] - plan.places[first % len(plan.places)][:, None]) < APART
    beside = np.where(near[:, None], 0, beside).reshape(len(white), -1)
    second = beside.argmax(1)
    none = (white**2).sum(1)
    single = np.maximum(none - size**2, 1e-12 * none)
    two = np.maximum(single - beside[every, second], 1e-12 * none)
    return Scan(white, np.stack([none, single, two]), np.stack([first, second]))


def weigh_changes(
    values: np.ndarray, scale: np.ndarray, least: tuple[float, float]
) -> tuple[LikelyChanges, LikelyChanges] | None:
    """The best change and the best two in `values` (n,), whose increments have the relative strength `scale` (n - 1,).

    None where Gaussian noise would already say that neither gains `least`.
    """
    plan = plan_filters(len(values))
    unit = max(float(np.std(np.diff(values))), np.finfo(float).tiny)
    values = (values - values.mean()) / unit
    scan = scan_changes(values, plan)
    if all(gain < enough for gain, enough in zip(scan.gaussian_gains(), least, strict=True)):
        return None
    scale = scale[len(values) - scan.white.shape[1] - 1 :]
    own = [own_errors(values, steps) for steps in (False, True)]
    course = score_course(scan, plan, scale)
    single, two = (weigh_best(scan, plan, count, scale, unit, own, course) for count in (1, 2))
    return single, two


def score_course(scan: Scan, plan: Filters, scale: np.ndarray) -> float:
    """Score of the best smooth course: a polynomial in time or in log time, or one slow rise."""
    bends = (np.einsum("cmns,mn->cms", plan.courses, scan.white) ** 2).sum(2)
    curve, model = np.unravel_index(int((scan.left[0] - bends).argmin()), bends.shape)
    basis = plan.courses[curve, model]
    rise = correlate_changes(scan.white, plan, slow=True).reshape(len(scan.white), -1)
    best = np.abs(rise).argmax(1)
    rises = int((scan.left[0] - np.abs(rise).max(1) ** 2).argmin())
    flat = len(WIDTHS) * len(plan.places) + int(best[rises])
    row = float(rise[rises, best[rises]]) * changed_row(plan, rises, flat)
    return max(
        student_score(scan.white[model] - basis @ (basis.T @ scan.white[model]), scale),
        student_score(scan.white[rises] - row, scale),
    )


def weigh_best(
    scan: Scan,
    plan: Filters,
    count: int,
    scale: np.ndarray,
    unit: float,
    own: list[tuple[np.ndarray, int]],
    course: float,
) -> LikelyChanges:
    """The best `count` changes under the noise that suits them, against any noise; `own` are the series' own errors.

    Of a step, the sample in which it comes counts for no more than SHOCK: without that sample the series still has to say so.
    """
    model = int(scan.left[count].argmin())
    white, chosen = scan.white[model], scan.chosen[:count, model]
    rows = np.stack([changed_row(plan, model, int(flat)) for flat in chosen])
    sizes = np.linalg.lstsq(rows.T, white, rcond=None)[0]
    rest = white - sizes @ rows
    bent = max(float(((basis.T @ rest) ** 2).sum()) for basis in plan.courses[:, model]) / max(
        float(rest @ rest), 1e-300
    )
    steps = chosen[chosen < len(plan.places)]
    kept = np.ones(len(rest), bool)
    none = score_noise(scan, own, scale, kept)
    gain = student_score(rest, scale) - none
    if len(steps):
        kept[plan.starts[0, steps]] = False
        without = student_score(rest[kept], scale[kept]) - score_noise(scan, own, scale, kept)
        gain = min(gain, without + SHOCK * len(steps))
    return LikelyChanges(
        places=plan.places[chosen % len(plan.places)],
        widths=np.array(WIDTHS)[chosen // len(plan.places)],
        sizes=unit * sizes / plan.norm[model].reshape(-1)[chosen],
        gain=gain,
        course=course - none,
        bent=-len(rest) * float(np.log1p(-min(bent, 1 - 1e-12))),
    )


def score_noise(scan: Scan, own: list[tuple[np.ndarray, int]], scale: np.ndarray, kept: np.ndarray) -> float:
    """Score of the best noise without a change, on the samples that are `kept`."""
    model = int((scan.left[0] - (scan.white[:, ~kept] ** 2).sum(1)).argmin())
    scores = [student_score(scan.white[model][kept], scale[kept])]
    for errors, order in own:
        # The start of the series, which this autoregression needs, is thought to be as likely as the rest.
        count = min(len(errors), len(scale))
        some = kept[-count:]
        score = student_score(errors[-count:][some], scale[-count:][some])
        scores.append(score * kept.sum() / some.sum() - 0.5 * order * np.log(len(scale)))
    return max(scores)


def correlate_changes(rows: np.ndarray, plan: Filters, slow: bool = False) -> np.ndarray:
    """(models, widths, places) products of white rows (models, N) with a change of length one at each place, or a slow rise."""
    widths = slice(len(WIDTHS), None) if slow else slice(0, len(WIDTHS))
    product = np.asarray(
        irfft(plan.spectra[:, widths] * np.asarray(rfft(rows, plan.length))[:, None], plan.length)
    )
    starts = plan.starts[widths]
    return np.stack([product[:, k, start] for k, start in enumerate(starts)], 1) / plan.norm[:, widths]


def changed_rows(plan: Filters, chosen: np.ndarray) -> np.ndarray:
    """(models, N) what each noise's filter makes of a change at its chosen width and place, of length one."""
    return np.stack([changed_row(plan, model, flat) for model, flat in enumerate(chosen.tolist())])


def changed_row(plan: Filters, model: int, flat: int) -> np.ndarray:
    """(N,) the same under one noise, without a mean."""
    width, at = divmod(flat, len(plan.places))
    start = plan.starts[width, at]
    row = np.zeros(plan.response.shape[-1])
    row[start:] = plan.response[model, width, : len(row) - start]
    return (row - row.mean()) / plan.norm[model, width, at]


def own_errors(values: np.ndarray, steps: bool) -> tuple[np.ndarray, int]:
    """Errors and order of the best autoregression of the values, or of their steps."""
    series = np.diff(values) if steps else values
    most = min(ORDERS[-1], len(values) // 6)
    window = sliding_window_view(series, most + 1)
    target, past = window[:, -1], window[:, -2::-1]
    tried = []
    for order in (o for o in ORDERS if o <= most):
        columns = np.c_[past[:, :order], np.ones(len(target))]
        errors = target - columns @ np.linalg.lstsq(columns, target, rcond=None)[0]
        score = len(target) * np.log(max(float(errors @ errors), 1e-300)) + order * np.log(len(target))
        tried.append((score, errors, order))
    _, errors, order = min(tried, key=lambda t: t[0])
    return errors, order


def gain_over_shocks(values: np.ndarray, scale: np.ndarray, left: np.ndarray, averaged: bool) -> float:
    """Twice the log-likelihood that `left` (n,), `values` without their changes, gain over a walk with heavy steps.

    One large step of a walk under measurement noise looks like any jump. What tells them apart is how many steps the level
    of the series takes elsewhere. Infinite where another noise suits the series better than a walk, and the walk that suits it best
    has hardly anything but measurement noise, or none (heavy steps that nothing hides are known), unless means have `averaged` it away.
    """
    plan = plan_filters(len(values))
    unit = max(float(np.std(np.diff(values))), np.finfo(float).tiny)
    white, rest = (whiten_values((x - x.mean()) / unit, plan) for x in (values, left))
    scale = scale[len(values) - white.shape[1] - 1 :]
    energy = (rest**2).sum(1)
    first = sum(len(SHARES) if root else 1 for root in ROOTS)
    models = np.arange(first, first + len(WALK_SHARES))
    share = WALK_SHARES[int(energy[models].argmin())]
    bare = share == 0 and energy[models].min() > energy.min() and not averaged
    if bare or share == WALK_SHARES[-1]:
        return np.inf
    calm = max(student_score(rest[model], scale) for model in np.argsort(energy)[:LIKELIEST])
    return calm - max(
        score_heavy_walk(white[model], scale, plan, int(model), walk_error(share, plan.taps.shape[1] - 1))
        for model, share in zip(models, WALK_SHARES, strict=True)
    )


def score_heavy_walk(white: np.ndarray, scale: np.ndarray, plan: Filters, model: int, error: float) -> float:
    """Score of a walk some of whose steps are large: each is taken out, and costs what it is rarer than an ordinary one.

    `error` is the variance of the prediction error over that of a step.
    """
    errors, cost, sizes = white, 0.0, np.zeros(0)
    best = student_score(errors, scale)
    starts, norm = plan.starts[0], plan.norm[model, 0]
    for _ in range(SHOCKS):
        product = np.asarray(
            irfft(plan.spectra[model, 0] * np.asarray(rfft(errors, plan.length)), plan.length)
        )
        at = int(np.abs(product[starts] / norm).argmax())
        size = product[starts[at]] / norm[at]
        errors = errors - size * changed_row(plan, model, at)
        sizes = np.r_[sizes, size / norm[at]]
        step = float(np.sqrt(np.mean(errors**2) / error)) / HEAVY_SCALE
        cost = (HEAVY + 1) * float(np.log((HEAVY + (sizes / step) ** 2) / (HEAVY + 1)).sum())
        best = max(best, student_score(errors, scale) - cost)
    return best


def walk_error(share: float, reach: int) -> float:
    """Variance of the prediction error of a walk with `share` of measurement noise, over that of its steps."""
    covariance = np.r_[1 + 2 * share, -share, np.zeros(reach - 2)]
    return float(covariance[0] - solve_toeplitz(covariance[:-1], covariance[1:]) @ covariance[1:])
