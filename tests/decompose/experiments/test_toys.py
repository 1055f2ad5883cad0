"""Toy studies: runs of a pack end as they do alone, also when they differ in more than the seed."""

import json

import pytest

from digsite.decompose.core.fit import Fit
from digsite.decompose.experiments import toys as run_toys
from digsite.record import create_run, read_results
from digsite.record.journal import read_series
from digsite.worker.execute import How, execute_pack, execute_run
from digsite.worker.run import Run

CPU = How(device="cpu", quiet=True)
SMALL = {
    "seeds": 2,
    "target": {"model": {"kind": "tms", "bias": "zero"}, "steps": 600, "batch": 256},
    "truth": {"linear*": {"identity": 5}},
    "check_every": 20,
    "log_every": 10,
    "figures": [],
}


def planned(root, seed: int, lr: float = 3e-3, coeff: float = 3e-3, **config):
    losses = {
        "importance_minimality": {"kind": "importance_minimality", "coeff": coeff},
        "recon": {"kind": "recon"},
    }
    own = {"C": 8, "steps": 40, "batch": 256, "lr": lr, "losses": losses, "compile": "never"}
    launch = {
        "study": "t",
        "method": "decompose.toy",
        "config": {**SMALL, **config, "seed": seed, "decompose": own},
    }
    return create_run(root, launch)


VARIED = [{"seed": 0}, {"seed": 1, "lr": 6e-3}, {"seed": 2, "coeff": 1e-2}]


AT_ONCE = {"stop": {"patience": 1}, "untrained": True}
LATER = {"untrained": True}


@pytest.mark.parametrize("stops", [[{}, {}, {}], [AT_ONCE, LATER, AT_ONCE]])
def test_a_pack_gives_each_run_what_it_gets_alone(tmp_path, stops, monkeypatch):
    alone, pack = (
        [planned(tmp_path / where, **varied, **stop) for varied, stop in zip(VARIED, stops)]
        for where in ("alone", "pack")
    )
    enough = lambda course, stop: "enough" if stop.patience == len(course) else ""  # noqa: E731
    monkeypatch.setattr(run_toys, "find_reason_to_stop", enough)
    assert [execute_run(run, CPU) for run in alone] == [0, 0, 0]
    sizes, keep, log = [], Fit.keep_members, Run.log

    def fail_once(run, step, **values):
        if step == 30 and "failed" not in sizes:
            sizes.append("failed")
            raise KeyError("as if killed")
        log(run, step, **values)

    monkeypatch.setattr(Fit, "keep_members", lambda fit, members: sizes.append(members) or keep(fit, members))
    monkeypatch.setattr(Run, "log", fail_once)
    often = How(device="cpu", quiet=True, checkpoint_every_s=0.0)
    assert execute_pack(pack, often) == [1, 1, 1]
    assert execute_pack(pack, CPU) == [0, 0, 0]
    gone = [[3, 4, 5]] if stops[0] else []  # two of three runs have left the stack, also after the failure
    assert sizes == [*gone, "failed", *gone]
    for one, packed in zip(alone, pack):
        expected, got = read_results(one.results), read_results(packed.results)
        assert expected and got
        assert [c.name for c in got.claims] == [c.name for c in expected.claims]
        for a, b in zip(expected.claims, got.claims):
            assert b.value == pytest.approx(a.value, rel=2e-3, abs=1e-4), a.name
        rivals = {rival.name: rival.value for rival in got["linear1/mmcs"].rivals}
        assert got["linear1/mmcs"].null == max(rivals.values()) and run_toys.RIVALS["rotated"] in rivals
        losses = [read_series(run.journal)["loss/recon"] for run in (one, packed)]
        assert losses[0][0] == losses[1][0]
        assert losses[1][1] == pytest.approx(losses[0][1], rel=1e-4)


@pytest.mark.parametrize(
    ("errors", "stop", "text"),
    [
        ([3, 0, 0], {"checks": 2}, "recovered at 2 checks"),
        ([0, 3, 0], {"checks": 2}, ""),
        ([9, 5, 5, 6], {"patience": 2}, "not fallen for 2 checks"),
        ([9, 5, 5, 4], {"patience": 2}, ""),
        ([5, 5], {"patience": 2}, ""),
        ([0, 0, 0], {}, ""),
    ],
)
def test_reasons_to_stop(errors, stop, text):
    from digsite.decompose.config import EarlyStop

    course = [{"error_mean": float(e), "recovered": float(e == 0)} for e in errors]
    why = run_toys.find_reason_to_stop(course, EarlyStop(**stop))
    assert (text in why) and bool(why) == bool(text)


def test_a_loss_that_is_not_finite_ends_the_run_and_leaves_the_checkpoint_before(tmp_path):
    run = planned(tmp_path, seed=0, lr=1e30)
    assert execute_run(run, How(device="cpu", quiet=True, checkpoint_every_s=0.0)) == 1
    assert "is not finite at step 1" in json.loads(run.error.read_text())["message"]
    assert list(run.path.glob("checkpoints/steps*"))


def test_a_truth_that_the_target_cannot_have_is_refused_before_the_first_step(tmp_path):
    run = planned(tmp_path, 0, truth={"linear*": {"identity": 7}})
    assert execute_run(run, CPU) == 2
    assert run.status().message == "The identity pattern is for 7 features, and the model has 5."
    assert run.status().step == 0


def test_recovery_leads_and_the_cosine_stands_beside_what_a_random_rotation_reaches(smoke):
    """The README once led with "singular vectors .90, the parts 1.00", which the same parts, rotated at random, reach too."""
    results = read_results(smoke("tms_5-2").results)
    assert results is not None
    assert results.headline[0] == "recovered_0.2"
    assert next(cited.claim for cited in results.cited) == "recovered_0.2"
    cosine = next(claim for claim in results.claims if claim.name == "linear1/mmcs")
    assert cosine.null_is.endswith("the found parts after a random rotation")
    assert cosine.null == max(rival.value for rival in cosine.rivals) > 0.9


def test_first_steps_that_explode_are_one_sentence(tmp_path):
    """They once ended in "matrix contains invalid numeric entries", out of the matching of parts."""
    asked = planned(tmp_path, seed=0).plan()
    asked["config"]["decompose"]["faithfulness_warmup"] = {"steps": 5, "lr": 1e30}
    run = create_run(tmp_path / "again", {key: asked[key] for key in ("study", "method", "config")})
    assert execute_run(run, CPU) != 0
    assert "left numbers that are not finite" in json.loads(run.error.read_text())["message"]
