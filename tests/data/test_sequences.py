import torch

from digsite.data.sequences import induction, modular_addition, repeated, split


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_answer_is_what_followed_the_cue():
    rows = induction(200, 16, 64, generator())
    assert rows.shape == (200, 16) and int(rows.max()) < 64
    for row in rows.tolist():
        cue, answer = row[-2:]
        assert row[:-2].count(cue) == 1 and row[row.index(cue) + 1] == answer
        assert len(set(row)) == 14


def test_repeated_says_it_twice():
    rows = repeated(5, 7, 30, generator())
    assert rows.shape == (5, 14) and torch.equal(rows[:, :7], rows[:, 7:])


def test_modular_addition_is_the_whole_table():
    pairs, sums = modular_addition(7)
    assert len(pairs) == 49 and all((a + b) % 7 == s for (a, b), s in zip(pairs.tolist(), sums.tolist()))


def test_a_split_is_a_partition():
    a, b = split(50, 0.3, generator())
    assert len(a) == 15 and sorted([*a.tolist(), *b.tolist()]) == list(range(50))
