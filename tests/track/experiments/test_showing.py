"""Courses for the dashboard."""

from dataclasses import replace

import numpy as np
import torch

from digsite.track.experiments.showing import show_courses, show_member_course, show_spectra
from digsite.track.subjects.tracked import TrackedRun


def tracked(name, shift, steps=(0, 10, 20)):
    values = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]) + shift
    return TrackedRun(
        name, "mlp", "narrow", "digits", 0, np.array(steps), ("a", "b"), {"rank": values}, np.zeros(3)
    )


class Recorder:
    def __init__(self):
        self.tables, self.views, self.kept = {}, [], {}

    def tensors(self, name, tensors):
        self.kept[name] = tensors

    def table(self, name, frame):
        self.tables[name] = frame

    def view(self, name, **options):
        self.views.append((name, options))


def test_means_with_the_least_and_the_greatest_seed():
    table, bands = show_member_course([tracked("x", 0.0), tracked("y", 2.0)], "rank")
    assert list(table["a"]) == [2, 3, 4] and list(table["b greatest"]) == [6, 7, 8]
    assert bands == [["a least", "a greatest"], ["b least", "b greatest"]]


def test_one_seed_has_no_band():
    table, bands = show_member_course([tracked("x", 0.0)], "rank")
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
    assert list(run.tables["courses/narrow-digits-rank"]["a greatest"]) == [2, 3, 4]


def test_spectra_of_the_first_seed_with_a_slider_along_training():
    spectra = torch.tensor([[[4.0, 2.0, 0.0], [1.0, 0.5, 0.25]]]).expand(3, 2, 3)
    run = Recorder()
    show_spectra(run, [replace(tracked("x", 0.0), spectra=spectra), tracked("y", 1.0)])
    ((_, options),) = run.views
    kept = run.kept["spectra/narrow-digits"]
    assert kept["steps"].tolist() == [0, 10, 20] and options["names"] == ["a", "b"]
    assert kept["spectra"][0, 1].tolist() == [1, 0.5, 0.25]
    assert kept["spectra"][0, 0, 1] == 0.5 and kept["spectra"][0, 0, 2].isnan()


def test_runs_without_spectra_are_left_out():
    run = Recorder()
    show_spectra(run, [tracked("x", 0.0)])
    assert run.views == []
