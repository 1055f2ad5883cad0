"""The tracker: cadence in training steps, complete samples, budget, and bad models and probes named."""

import pytest
import torch
from torch import nn

from digsite.base.errors import UsageError
from digsite.track import Tracker, spectra
from digsite.track.core.probe import Probe


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.BatchNorm1d(16), nn.Linear(16, 3))


def train(model: nn.Module, tracker: Tracker | None, steps: int, lr: float = 0.1) -> None:
    draw = torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr)
    for _ in range(steps):
        x = torch.randn(32, 6, generator=draw)
        loss = model(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if tracker is not None:
            tracker.step(loss=loss.detach())


PROBE = torch.randn(40, 6, generator=torch.Generator().manual_seed(9))


def test_steps_are_training_steps_and_values_are_those_of_spectra() -> None:
    model = net()
    with Tracker(model, PROBE, every=7, budget=None) as tracker:
        train(model, tracker, 30)
    (series,) = tracker.series("centered/stable_rank", "3")
    assert series.steps.tolist() == [0, 7, 14, 21, 28, 30]
    with torch.no_grad():
        truth = spectra(model.eval()(PROBE), warn=False)
    for measure in ("stable_rank", "centered/stable_rank", "two_nn", "mean_share", "centered/entropy_rank"):
        assert tracker.series(measure, "3")[0].values[-1] == pytest.approx(truth[measure], rel=1e-3)


def test_log_cadence_doubles_first() -> None:
    model = net()
    with Tracker(model, PROBE, every=16, cadence="log", budget=None) as tracker:
        train(model, tracker, 32)
    assert tracker.records.steps() == [0, 1, 2, 4, 8, 16, 32]


def test_training_is_left_as_it_is() -> None:
    """Weights, modes and batch-norm statistics are those of an untracked run."""
    torch.manual_seed(0)
    plain = net()
    tracked = net()
    tracked.load_state_dict(plain.state_dict())
    train(plain, None, 20)
    with Tracker(tracked, PROBE, every=1, budget=None) as tracker:
        train(tracked, tracker, 20)
    assert tracked.training
    for name, value in plain.state_dict().items():
        assert torch.equal(value, tracked.state_dict()[name]), name
    assert not any(m._forward_hooks for m in tracked.modules())


def test_a_frozen_net_is_constant_and_has_no_jumps() -> None:
    model = net()
    with Tracker(model, PROBE, every=1, budget=None) as tracker:
        train(model.eval(), tracker, 40, lr=0.0)
    assert all(s.constant for s in tracker.series() if s.layer and not s.measure.startswith("gradient"))
    for measure in ("stable_rank", "centered/participation_ratio_variance", "two_nn", "cka_to_init"):
        assert tracker.jumps(measure) == []


def test_likeness_to_init_and_final() -> None:
    model = net()
    with Tracker(model, PROBE, every=5, budget=None) as tracker:
        train(model, tracker, 40)
    to_init, to_final = (tracker.series(f"cka_to_{end}", "0")[0].values for end in ("init", "final"))
    assert to_init[0] == pytest.approx(1, abs=1e-3)
    assert to_final[-1] == pytest.approx(1, abs=1e-3)
    assert to_init[-1] < 1


def test_a_small_budget_skips_work_and_books_it() -> None:
    model = net()
    tracker = Tracker(model, PROBE, every=1, budget=1e-6)
    train(model, tracker, 30)
    assert sum(tracker.budget.skipped.values()) > 0
    assert len(tracker.records.steps()) < 31


def test_weights_and_updates() -> None:
    model = net()
    with Tracker(model, PROBE, every=10, budget=None) as tracker:
        train(model, tracker, 20)
    relative = tracker.series("update/relative", "0")[0].values
    assert relative[0] == 0 and relative[-1] > 0
    assert {"gradient/norm", "weight/spectral_norm"} <= {s.measure for s in tracker.series(layer="0")}


def test_weights_are_read_at_every_fourth_sample_and_at_the_end() -> None:
    model = net()
    tracker = Tracker(model, PROBE, every=2, budget=None, weights_every=4)
    train(model, tracker, 20)
    tracker.close()
    assert tracker.series("weight/norm", "0")[0].steps.tolist() == [0, 8, 16, 20]


def test_a_layer_that_never_runs_is_named() -> None:
    class Lazy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(6, 3), nn.Linear(6, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.used(x)

    with pytest.warns(UserWarning, match="'unused' never ran"):
        tracker = Tracker(Lazy(), PROBE)
    assert any("unused" in note for note in tracker.notes)


def test_nan_activations_leave_a_marked_hole() -> None:
    model = net()
    with pytest.warns(UserWarning, match="were not finite"):
        tracker = Tracker(model, PROBE, every=1, budget=None, layers=["0"], weights_every=1)
        tracker.step()
        with torch.no_grad():
            kept = model[0].weight.clone()
            model[0].weight.fill_(float("nan"))
        tracker.step()
        with torch.no_grad():
            model[0].weight.copy_(kept)
        tracker.step()
    series = tracker.series("stable_rank", "0")[0]
    assert series.holes == 1
    assert series.steps.tolist() == [0, 1, 3]
    assert 2 not in tracker.series("weight/norm", "0")[0].steps
    assert any("weights of '0' were not finite" in note for note in tracker.notes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"probe": torch.zeros(0, 6)}, "The probe is empty"),
        ({"probe": torch.full((4, 6), float("inf"))}, "not finite"),
        ({"probe": PROBE, "every": 0}, "every=0"),
        ({"probe": PROBE, "layers": ["3x"]}, "no layer '3x'"),
        ({"probe": PROBE, "kinds": ["conv"]}, "no layer that can be tracked"),
    ],
)
def test_bad_input(arguments: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Tracker(net(), **arguments)


def test_backward_steps_are_refused() -> None:
    tracker = Tracker(net(), PROBE)
    tracker.observe(10)
    with pytest.raises(UsageError, match="Step 5 comes after step 10"):
        tracker.observe(5)


def test_labels_give_a_probe_loss() -> None:
    labels = torch.zeros(40, dtype=torch.long)
    tracker = Tracker(net(), (PROBE, labels))
    assert tracker.series("probe_loss")[0].values[0] > 0


def test_the_frame_is_tidy() -> None:
    tracker = Tracker(net(), Probe(PROBE), run="a")
    frame = tracker.frame()
    assert set(frame.columns) == {"run", "step", "layer", "depth", "measure", "value", "rows"}
    assert not frame.duplicated(["layer", "step", "measure"]).any()
