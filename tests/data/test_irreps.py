import itertools

import numpy as np
import pytest

from digsite.data import irreps


def _cyclic(n):
    return (np.arange(n)[:, None] + np.arange(n)) % n


def _dihedral(n):
    r, s = np.divmod(np.arange(2 * n), n)[1], np.arange(2 * n) // n
    turn = np.where(s[:, None] == 0, r[:, None] + r, r[:, None] - r) % n
    return turn + n * (s[:, None] ^ s)


def _symmetric(n):
    p = np.array(list(itertools.permutations(range(n))))
    number = {tuple(x): i for i, x in enumerate(p)}
    return np.array([[number[tuple(a[b])] for b in p] for a in p]), p


def test_dimensions_are_known():
    assert sorted(irreps.split_regular(_cyclic(7)).dimensions) == [1, 2, 2, 2]
    assert sorted(irreps.split_regular(_dihedral(5)).dimensions) == [1, 1, 4, 4]
    assert sorted(irreps.split_regular(_symmetric(4)[0]).dimensions) == [1, 1, 4, 9, 9]


def test_s5_has_its_seven_by_name():
    table, permutations = _symmetric(5)
    group = irreps.split_regular(table)
    names = irreps.names_by_character(group, table, irreps.symmetric_characters(permutations))
    sizes = dict(zip(names, group.dimensions))
    assert sizes == {
        "trivial": 1,
        "sign": 1,
        "standard": 16,
        "standard_sign": 16,
        "s5_5d_a": 25,
        "s5_5d_b": 25,
        "s5_6d": 36,
    }


@pytest.mark.parametrize(
    ("table", "known"),
    [(_cyclic(9), irreps.cyclic_characters(9)), (_dihedral(7), irreps.dihedral_characters(7))],
)
def test_names_are_one_to_one(table, known):
    names = irreps.names_by_character(irreps.split_regular(table), table, known)
    assert sorted(names) == sorted(known)


def test_shares_of_a_cyclic_group_are_the_power_spectrum():
    rng = np.random.default_rng(0)
    table = _cyclic(11)
    group, signal = irreps.split_regular(table), rng.normal(size=(11, 3))
    names = irreps.names_by_character(group, table, irreps.cyclic_characters(11))
    power = (np.abs(np.fft.fft(signal, axis=0)) ** 2).sum(1)
    expected = {"trivial": power[0]} | {f"freq_{k}": 2 * power[k] for k in range(1, 6)}
    found = dict(zip(names, irreps.measure_shares(signal, group)))
    assert all(found[n] == pytest.approx(expected[n] / power.sum()) for n in names)
    assert irreps.centered_shares(signal + 5, group)[names.index("trivial")] == pytest.approx(0, abs=1e-12)
