"""The look: what every figure shares."""

import re

import numpy as np

from digsite.figures.style import canvas, place_legend, quiet_corner


def test_no_figure_depends_on_how_fast_the_machine_is():
    """Matplotlib's search for the best corner warns after a second, and warnings are errors: a busy machine failed."""
    from pathlib import Path

    import digsite

    for path in Path(digsite.__file__).parent.rglob("*.py"):
        text = path.read_text()
        for place in re.finditer(r"\.legend\(", text):
            assert "loc" in text[place.start() : place.start() + 120], f"{path}: {text[place.start() :][:60]}"
        assert '"best"' not in text or path.parent.name != "figures", path
    assert not [
        p
        for p in Path(digsite.__file__).parent.rglob("*.py")
        if re.search(r'loc\s*=\s*"best"', p.read_text())
    ]


def test_a_legend_goes_to_the_quietest_corner():
    figure, ax = canvas()
    x = np.linspace(0, 1, 300_000)  # a search through every point would take seconds
    ax.plot(x, x, label="rising")
    assert quiet_corner(ax) in ("upper left", "lower right")
    ax.plot(x, np.full_like(x, 0.02), label="low")
    assert quiet_corner(ax) == "upper left"
    place_legend(ax)
    assert ax.get_legend() is not None
    _, bare = canvas()
    assert quiet_corner(bare) == "upper right"
    _, log = canvas()
    log.plot([1, 10, 1000], [5, 1, 0.1])
    log.set_xscale("log")
    assert quiet_corner(log) in ("upper right", "lower left")


def test_a_line_with_two_points_counts_along_its_way():
    _, ax = canvas()
    ax.plot([4, 8], [33, 32.9])
    ax.plot([4, 8], [29.6, 28])
    ax.axhline(33.1)  # spans the axes and says nothing about corners
    assert quiet_corner(ax) in ("lower left", "upper right", "lower right")
    ax.fill_between([4, 8], [28, 28], [29, 28.5])
    assert quiet_corner(ax) != "lower left"
