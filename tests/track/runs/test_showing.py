"""Courses for the dashboard."""

import numpy as np

from digsite.track.runs.showing import course, show_courses
from digsite.track.tracked import TrackedRun


def tracked(name, shift, steps=(0, 10, 20)):
    values = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]) + shift
    return TrackedRun(
        name, "mlp", "narrow", "digits", 0, np.array(steps), ("a", "b"), {"rank": values}, np.zeros(3)
    )


class Recorder:
    def __init__(self):
        self.tables, self.views = {}, []

    def table(self, name, frame):
        self.tables[name] = frame

    def view(self, name, **options):
        self.views.append((name, options))


def test_means_with_the_least_and_the_greatest_seed():
    table, bands = course([tracked("x", 0.0), tracked("y", 2.0)], "rank")
    assert list(table["a"]) == [2, 3, 4] and list(table["b greatest"]) == [6, 7, 8]
    assert bands == [["a least", "a greatest"], ["b least", "b greatest"]]


def test_one_seed_has_no_band():
    table, bands = course([tracked("x", 0.0)], "rank")
    assert list(table.columns) == ["step", "a", "b"] and bands == []


def test_jumps_become_marks_and_other_grids_stay_out():
    run = Recorder()
    show_courses(
        run,
        [tracked("x", 0.0), tracked("y", 1.0), tracked("z", 0.0, (0, 5, 9))],
        "rank",
        {"x": [10.0], "q": [1.0]},
    )
    ((name, options),) = run.views
    assert name == "narrow on digits: rank"
    assert options["marks"] == [{"x": 10.0, "label": "jump"}]
    assert list(run.tables["courses/narrow-digits"]["a greatest"]) == [2, 3, 4]
