"""Scores of entries whose right answers are known: the program's own parts, nothing at all, and strangers' mistakes."""

import math
from itertools import product

import pytest
import torch

from digsite.base.errors import UsageError
from digsite.decompose.core.masks import Masks
from digsite.decompose.judge import contestants
from digsite.decompose.judge.contestants import enter_contestant
from digsite.decompose.judge.exam import entry_from_parts, marks, parts
from digsite.decompose.judge.exam.marks import average_score, count_passed
from digsite.decompose.subjects.compiled import CompiledProgram, load_program, pad_program, rotate_program


@pytest.fixture(scope="module")
def program() -> CompiledProgram:
    return rotate_program(load_program("frac_prevs"), 1)


def true_parts(program: CompiledProgram) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """One part for each labelled direction of the residual stream: pure by construction."""
    made = {}
    for site in program.sites:
        weight = program.model.get_submodule(site).weight.T
        basis = program.basis
        if parts.writes_to_stream(site):
            made[site] = (weight @ basis.T, basis)
        else:
            made[site] = (basis.T, basis @ weight)
    return made


def test_the_programs_own_directions_are_right_pure_and_cover_everything(program):
    entry = entry_from_parts(program, true_parts(program))
    right = marks.share_right(entry)
    assert right["unmasked"] == 1.0 and right["zero"] < 0.5
    found = parts.score_parts(entry, entry.find_alive())
    assert found.purity == pytest.approx(1.0, abs=1e-5)
    assert found.coverage == pytest.approx(1.0, abs=1e-5)
    assert found.error < 1e-4 and found.dead_alive == 0


def test_parts_that_do_not_add_up_are_scored_as_they_are(program):
    halves = {site: (v, u / 2) for site, (v, u) in true_parts(program).items()}
    entry = entry_from_parts(program, halves)
    assert marks.share_right(entry)["unmasked"] < 0.9
    assert parts.score_parts(entry, entry.find_alive()).error > 0.1


def test_an_oracle_of_importance_is_used_where_it_matters(program):
    """All on everywhere agrees with interchange only by chance; alive parts at places where nothing changes do not."""
    entry = entry_from_parts(
        program,
        true_parts(program),
        lambda ids: {
            site: torch.ones(*ids.shape, v.shape[1]) for site, (v, _) in true_parts(program).items()
        },
    )
    found = parts.score_use(entry, entry.find_alive())
    assert found.places > 0 and found.agreement == pytest.approx(found.chance)
    own = entry_from_parts(program, true_parts(program))
    assert parts.score_use(own, own.find_alive()).agreement > found.agreement


def test_the_graph_of_the_programs_own_directions_is_the_programs(program):
    entry = entry_from_parts(program, true_parts(program))
    found = parts.score_graph(entry, entry.find_alive())
    assert found.edges == len(parts.known_edges(program)) > 0
    assert found.precision > 0.7 and found.recall > 0.6


def test_a_longer_attack_is_never_kinder(program):
    entry = entry_from_parts(program, true_parts(program))
    ladder = marks.climb_ladder(entry, (0, 2, 5))
    assert list(ladder) == [0, 2, 5] and all(0 <= share <= 1 for share in ladder.values())


def draw_importance(program, seed, sure):
    """Importances of zero or one, `sure` parts of the first site of the MLP being important nowhere and the others everywhere."""
    made = true_parts(program)
    generator = torch.Generator().manual_seed(seed)
    sizes = {site: v.shape[1] for site, (v, _) in made.items()}
    dropped = torch.randperm(sizes["blocks.0.mlp.in"], generator=generator)[:sure]

    def importances(ids):
        held = {site: torch.ones(*ids.shape, n) for site, n in sizes.items()}
        held["blocks.0.mlp.in"][..., dropped] = 0.0
        return held

    return entry_from_parts(program, made, importances), dropped


@pytest.mark.parametrize("seed", [0, 1])
def test_every_mask_is_what_trying_each_by_hand_gives(program, seed):
    entry, dropped = draw_importance(program, seed, 4)
    site = "blocks.0.mlp.in"
    shares = []
    for choice in product((0.0, 1.0), repeat=4):
        with torch.no_grad():
            right = 0
            for ids in program.batches(1024):
                scene = entry.observe_inputs(ids)
                masks = dict(scene.importance.lower) | {site: scene.importance.lower[site].clone()}
                masks[site][..., dropped] = torch.tensor(choice)
                right += int(program.is_right(scene.forward(Masks(masks)), program.wanted(ids)).sum())
        shares.append(right / sum(len(ids) for ids in program.domain))
    assert marks.try_every_mask(entry, 4) == pytest.approx(min(shares), abs=1e-6)


def test_an_attack_by_ascent_finds_the_worst_of_all_masks(program):
    entry = enter_contestant("singular", program, seed=1, steps=0)
    worst = marks.try_every_mask(entry, 4)
    assert worst < 0.95 and marks.climb_ladder(entry, [40])[40] == pytest.approx(worst)


def test_the_worst_of_all_masks_is_not_sought_where_too_much_is_left_to_choose(program):
    entry, _ = draw_importance(program, 0, 14)
    assert math.isnan(marks.try_every_mask(entry, 0)) and marks.try_every_mask(entry, 8) < 0.5


@pytest.mark.parametrize("name", ["singular", "singular_all", "neurons", "dictionary", "random"])
def test_rivals_add_up(program, name):
    entry = enter_contestant(name, program, seed=3, steps=0)
    assert parts.score_parts(entry, entry.find_alive()).error < 1e-4


def test_padding_adds_nothing_to_the_rank():
    plain = load_program("frac_prevs")
    padded = rotate_program(pad_program(plain, 3, 0), 1)
    assert [padded.rank(site) for site in padded.sites] == [plain.rank(site) for site in plain.sites]
    idle = padded.model.get_submodule("blocks.0.mlp").get_submodule("in").weight
    assert torch.linalg.matrix_rank(idle) == plain.rank("blocks.0.mlp.in") + 3


def stranger(answer, monkeypatch):
    monkeypatch.setattr(contestants, "find_object", lambda name: answer)


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        (lambda p: {}, "no parts of the site 'blocks.0.attn.q'"),
        (lambda p: {s: (v, u[:, :-1]) for s, (v, u) in p.items()}, "have shapes"),
        (lambda p: {s: (v * torch.nan, u) for s, (v, u) in p.items()}, "not finite"),
        (lambda p: [1, 2], "is no entry"),
        (lambda p: (p, lambda ids: {}), "importances of 'blocks.0.attn.q' should be"),
    ],
)
def test_a_strangers_mistake_is_answered(program, monkeypatch, change, answer):
    stranger(lambda model, batches, sites, seed: change(true_parts(program)), monkeypatch)
    with pytest.raises(UsageError, match=answer):
        enter_contestant("py:mine:method", program, seed=0, steps=0).find_alive()


def test_a_function_that_cannot_be_called_is_answered(program, monkeypatch):
    stranger(lambda model: None, monkeypatch)
    with pytest.raises(UsageError, match="cannot be called with"):
        enter_contestant("py:mine:method", program, seed=0, steps=0)
    with pytest.raises(UsageError, match="'singlar' is not a contestant. Did you mean 'singular'"):
        enter_contestant("singlar", program, seed=0, steps=0)


def rows(shares, rival=0.5):
    base = {"failed": "", "program": "p", "dead_alive": 0, "purity": 0.6}
    mine = [{**base, "contestant": "me", "rotation": k, "rounded": s} for k, s in enumerate(shares)]
    return mine + [
        {**base, "contestant": "singular", "rotation": k, "rounded": 0, "purity": rival} for k in range(3)
    ]


def test_a_program_is_passed_in_every_rotation_or_not_at_all():
    assert count_passed(rows([1, 1, 0.995]), "me", "rounded").value == 1
    assert count_passed(rows([1, 1, 0.98]), "me", "rounded").value == 0
    assert count_passed(rows([1, 1, 1], rival=0.7), "me", "pure").value == 0
    assert count_passed([{**r, "failed": "no"} for r in rows([1])], "me", "rounded").value == 0
    mark = average_score(rows([0.2, 0.4, 0.6]), "me", "rounded", null=0.1)
    assert mark.value == pytest.approx(0.4) and mark.low < 0.4 < mark.high and mark.n == 3
