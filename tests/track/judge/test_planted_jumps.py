"""The rival's quotient against the double loop of its definition, and that it sees a change of the mean."""

import numpy as np
import pytest

from digsite.track.judge import planted_jumps


def test_quotient_is_its_definition() -> None:
    values = np.random.default_rng(0).standard_normal(40)
    values -= values.mean()
    n, total = 40, np.cumsum(values)
    plain = []
    for k in range(1, n):
        top = (total[k - 1] - k / n * total[-1]) ** 2 / n
        left = sum((total[j - 1] - j / k * total[k - 1]) ** 2 for j in range(1, k + 1))
        tail = np.cumsum(values[::-1])
        m = n - k
        right = sum((tail[j - 1] - j / m * tail[m - 1]) ** 2 for j in range(1, m + 1))
        plain.append(top / ((left + right) / n**2))
    quotient, place = planted_jumps.self_normalized_cusum(values)
    assert quotient == pytest.approx(max(plain)) and place == int(np.argmax(plain)) + 1


def test_it_sees_a_change_of_the_mean() -> None:
    rng = np.random.default_rng(1)
    assert planted_jumps.shifts_mean(rng.standard_normal(300) + 2.0 * (np.arange(300) > 150))
    assert np.mean([planted_jumps.shifts_mean(rng.standard_normal(200)) for _ in range(40)]) <= 0.2


def test_families_are_whole_and_no_two_are_one() -> None:
    draws = (
        planted_jumps.draw_build_families,
        planted_jumps.draw_judge_families,
        planted_jumps.draw_kept_families,
    )
    sets = [draw(50, 2, np.random.default_rng(0)) for draw in draws]
    for families in sets:
        assert all(rows.shape == (2, 50) and np.isfinite(rows).all() for rows in families.values())
    names = [name for families in sets for name in families]
    assert len(names) == len(set(names)) and set(planted_jumps.PROCESSES) <= set(sets[0])


def test_a_threshold_process_remembers_below_zero_alone() -> None:
    rows = planted_jumps.draw_threshold(20, 2000, np.random.default_rng(1))
    before, after = rows[:, :-1].ravel(), rows[:, 1:].ravel()
    slopes = [np.polyfit(before[part], after[part], 1)[0] for part in (before < 0, before > 0)]
    assert slopes == pytest.approx([0.9, 0.3], abs=0.05)
