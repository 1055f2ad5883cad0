"""Positions of many runs, checked by hand."""

import json
from dataclasses import replace

import pytest

from digsite.record import create_run
from digsite.record.results import Claim
from digsite.record.status import Status, write_status
from digsite.report.claims import claim_axis
from digsite.report.comparison import compare_facts
from digsite.report.facts import gather_facts
from digsite.report.plots import (
    CURVES,
    POINTS,
    SHADES,
    draw_curves,
    draw_heat,
    draw_scatter,
    list_forests,
    list_settings,
    nice_ticks,
)


@pytest.fixture
def runs(tmp_path):
    """Six runs over two settings, with one claim that rises with `lr` and one that never moves."""
    made = create_run(tmp_path, {"study": "s", "method": "a.b", "config": {}})
    write_status(made.status_file, Status("finished", "s", made.id))
    plain = gather_facts(made)

    def make_facts(lr: float, model: str, seed: int):
        config = {"lr": lr, "model": model, "seed": seed, "steps": 5}
        claims = (
            Claim(
                "score", 10 * lr, 10 * lr - 0.5, 10 * lr + 0.5, 5, null=0.0, kind="median", better="higher"
            ),
            Claim("same", 1.0, 0.5, 1.5, 5, null=0.0),
        )
        return replace(plain, config=config, claims=claims)

    return [
        make_facts(lr, model, seed) for lr in (0.1, 0.2) for model, seed in (("a", 0), ("a", 1), ("b", 0))
    ]


def test_all_runs_of_a_claim_share_one_scale(runs):
    forests = {forest.name: forest for forest in list_forests(compare_facts(runs))}
    assert forests["same"].is_same and not forests["score"].is_same
    pictures = forests["score"].axis.pictures
    # marks go from 0 (the null) to 2.5 (the greatest end), with 4 % of room at each side
    first, last = pictures[0], pictures[-1]
    assert first and last
    assert first.value == pytest.approx(4 + 92 * 1.0 / 2.5) and last.value == pytest.approx(
        4 + 92 * 2.0 / 2.5
    )
    assert first.null == last.null == (4.0, 4.0)
    assert forests["score"].axis.ticks == ("0", "1.25", "2.5")


def test_a_run_without_the_claim_has_no_picture(runs):
    axis = claim_axis([runs[0].claims[0], None, Claim("score", None), Claim("score", float("inf"))])
    assert [picture is None for picture in axis.pictures] == [False, True, True, True]
    assert claim_axis([None]).pictures == (None,)


def test_a_scatter_places_settings_claims_and_words(runs):
    plot = draw_scatter(runs, "lr", "score", by="model")
    assert plot and plot.groups == ("a", "b") and plot.left_out == 0
    left, right = plot.dots[0], plot.dots[-1]
    assert left.x < right.x and left.y > right.y  # up is a smaller share of the height
    assert left.low is not None and left.high is not None and left.low > left.y > left.high
    assert [text for _, text in plot.across] == ["0.1", "0.2"]
    assert (left.group, right.group) == (0, 1) and len(plot.nulls) == 1
    words = draw_scatter(runs, "model", "score")
    assert words and [text for _, text in words.across] == ["a", "b"]


def test_a_scatter_leaves_out_what_has_no_place(runs):
    bad = replace(runs[0], claims=(Claim("score", float("nan")),))
    plot = draw_scatter([bad, *runs], "lr", "score")
    assert plot and plot.left_out == 1
    assert draw_scatter([bad, runs[0]], "lr", "score") is None
    assert draw_scatter(runs, "lr", "no such claim") is None


def test_wide_ranges_are_logarithmic(runs):
    wide = [replace(run, config={**run.config, "lr": 10.0**i}) for i, run in enumerate(runs)]
    plot = draw_scatter(wide, "lr", "score")
    assert plot
    steps = [b.x - a.x for a, b in zip(plot.dots, plot.dots[1:], strict=False)]
    assert max(steps) - min(steps) < 0.1


def test_a_heat_map_pools_what_else_differs(runs):
    heat = draw_heat(runs, "lr", "model", "score")
    assert heat and heat.columns == ("0.1", "0.2") and heat.pooled == ("seed",)
    (name_a, row_a), (_, row_b) = heat.rows
    assert name_a == "a" and len(row_a[0].runs) == 2 and len(row_b[0].runs) == 1
    assert (row_a[0].shade, row_a[1].shade) == (0, SHADES - 1)
    assert draw_heat(runs, "lr", "model", "none") is None


def test_only_settings_that_differ_are_offered(runs):
    assert list_settings(runs) == ["lr", "model", "seed"]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-0.013, 0.0004), (3, 4000), (1e-9, 2e-9)])
def test_ticks_are_round_and_inside(low, high):
    found = nice_ticks(low, high)
    assert 3 <= len(found) <= 8 and all(low - 1e-12 <= at <= high + 1e-12 for at in found)
    assert all(float(f"{at:.2g}") == at for at in found)  # two digits say each of them


def test_a_curve_is_a_path_in_percent_and_its_points():
    (one,) = draw_curves({"loss": ([0.0, 5.0, 10.0], [4.0, 2.0, 3.0]), "once": ([1.0], [1.0])})
    assert (one.name, one.last, one.ends) == ("loss", "3", ("2", "4", "0", "10"))
    assert one.path == "M0.00 2.00L50.00 98.00L100.00 50.00"
    assert json.loads(one.points) == {"x": [0, 5, 10], "y": [4, 2, 3]}


def test_curves_are_few_and_their_peaks_stay():
    steps = [float(i) for i in range(100_000)]
    values = [1000.0 if i == 77_777 else i % 7 for i in range(100_000)]
    found = draw_curves({f"m{i}": (steps, values) for i in range(40)})
    assert len(found) == CURVES and all(len(json.loads(c.points)["x"]) <= POINTS for c in found)
    assert max(json.loads(found[0].points)["y"]) == 1000
    (flat,) = draw_curves({"flat": ([2.0, 2.0, 2.0], [1.0, 1.0, 1.0])})
    assert "nan" not in flat.path
