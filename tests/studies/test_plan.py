import pytest

from digsite.base.errors import NotFound, UsageError
from digsite.config.overrides import leaf_paths
from digsite.record.verdict import find_numbers
from digsite.studies import all_studies, find_study
from digsite.studies.plan import plan_run, refuse_changes, start_run


@pytest.mark.parametrize("overrides", [["steps=7"], ["decompose.steps=7"]])
def test_a_setting_may_be_named_by_the_end_of_its_path(overrides):
    planned = plan_run(find_study("tms_5-2"), overrides=overrides)
    assert planned.tree["decompose"]["steps"] == 7
    assert planned.layers.find_origin("decompose.steps") == "command line"


def test_also_in_a_sweep_and_when_deleting():
    planned = plan_run(find_study("tms_5-2"), values={"C": 30}, overrides=["~stochastic_recon_layerwise"])
    assert planned.tree["decompose"]["C"] == 30
    assert "stochastic_recon_layerwise" not in planned.tree["decompose"]["losses"]


def test_what_was_set_by_hand_is_what_neither_study_nor_size_sets():
    study = find_study("tms_5-2")
    for size in ("full", "quick", "smoke", "demo"):
        assert plan_run(study, size=size).given_paths() == []
        assert plan_run(study, size=size, overrides=["C=30"]).given_paths() == ["decompose.C"]
    assert plan_run(study, values={"seed": 3}).given_paths() == ["seed"]


def test_a_slip_is_answered_with_the_whole_path():
    with pytest.raises(
        UsageError, match=r"Unknown key 'step' in this config of 'tms_5-2'. Did you mean 'decompose.steps'"
    ):
        plan_run(find_study("tms_5-2"), overrides=["step=3"])


def test_every_study_can_be_planned_as_it_stands():
    for study in all_studies().values():
        assert plan_run(study).tree


def test_no_study_takes_a_seed_below_zero():
    """Some generators take only whole numbers from 0 on, and said so in the middle of a run."""
    for study in all_studies().values():
        if "seed" in leaf_paths(plan_run(study, size="smoke").tree):
            with pytest.raises(UsageError, match="'seed' cannot be -1"):
                plan_run(study, size="smoke", overrides=["seed=-1"])


def test_a_resumed_run_says_what_would_change_also_by_short_names(tmp_path):
    run = start_run(plan_run(find_study("tms_5-2"), size="smoke"), tmp_path)
    kept = run.plan()["config"]["decompose"]["C"]
    refuse_changes(run, [f"C={kept}"])
    with pytest.raises(UsageError, match=rf"decompose.C: {kept} -> {kept + 1}"):
        refuse_changes(run, [f"C={kept + 1}"])


@pytest.mark.parametrize(
    ("study", "given", "sentence"),
    [
        ("dig", "model=missing.pt", "There is no model file 'missing.pt'"),
        ("own_model", "model=py:nowhere_at_all:net", "There is no module 'nowhere_at_all'"),
        ("lm_mlp", "model=file:missing", "There is no model file 'missing'"),
        ("tms_5-2", "target.pretrained=[missing.pt]", "There is no model file 'missing.pt'"),
        ("mask-clusters", "model=storiez", "There is no model file 'storiez'"),
        ("own_model", "model=run:20990101", "20990101"),
    ],
)
def test_a_model_that_is_not_there_is_refused_before_there_is_a_run(study, given, sentence):
    with pytest.raises(NotFound, match=sentence):
        plan_run(find_study(study), overrides=[given])


@pytest.mark.parametrize(
    ("study", "given"),
    [
        ("mask-clusters", "model=stories"),
        ("mask-clusters", "model=trained"),
        ("dig", "model=trained"),
        ("lm_mlp", "model=''"),
        ("own_model", "model=py:mine:net"),
        ("own_model", "model=py:digsite.joint.subjects.model:trained_network"),
        ("tms_5-2", "target.pretrained=[mine.py]"),
    ],
)
def test_a_model_by_its_name_in_the_data_folder_or_beside_us_is_not(monkeypatch, tmp_path, study, given):
    (tmp_path / "mine.py").write_text("net = None")
    (tmp_path / "lm" / "trained").mkdir(parents=True)
    (tmp_path / "lm" / "trained" / "model.safetensors").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIGSITE_DATA", str(tmp_path))
    assert plan_run(find_study(study), overrides=[given]).tree


def test_a_full_run_stands_on_what_the_data_folder_has_and_says_so(monkeypatch, tmp_path):
    study = find_study("mask-clusters")
    monkeypatch.setenv("DIGSITE_DATA", str(tmp_path))
    small = plan_run(study)
    assert small.config.model == "stories" and small.launch()["at_hand"] is False
    assert (
        "a small model of generated stories: 'lm/tinystories_char_0.9M' is not" in small.launch()["stands_on"]
    )
    for name in study.at_hand.needs:
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "lm" / "tinystories_char_0.9M" / "model.safetensors").touch()
    grown = plan_run(study)
    assert grown.config.model == "tinystories_char_0.9M" and grown.given_paths() == []
    assert grown.layers.find_origin("model") == "study.yaml (at hand)"
    assert grown.launch()["stands_on"].startswith("It stands on the published model")
    assert plan_run(study, overrides=["model=stories"]).stands_on() == {}  # whoever chooses knows
    for size in ("quick", "smoke", "demo"):
        assert plan_run(study, size=size).config.model == "stories"
        assert "stands_on" not in plan_run(study, size=size).launch()


@pytest.mark.parametrize("name", [s.name for s in all_studies().values() if s.at_hand])
def test_what_a_study_says_of_its_data_holds_no_number_and_both_sizes_can_be_planned(
    name, monkeypatch, tmp_path
):
    study = find_study(name)
    for words in (study.at_hand.stands_on, study.at_hand.otherwise):
        assert find_numbers(words) == [] and not words.endswith(".")
    monkeypatch.setenv("DIGSITE_DATA", str(tmp_path))
    assert plan_run(study).stands_on()["at_hand"] is False
    for need in study.at_hand.needs:
        (tmp_path / need).mkdir(parents=True, exist_ok=True)
    assert plan_run(study).stands_on()["at_hand"] is True


@pytest.mark.parametrize(
    ("study", "given", "sentence"),
    [
        ("nwa", "zoo=nowhere", "There is no zoo 'nowhere'"),
        ("mask-clusters", "calibration.text=nowhere", "There is no text 'nowhere'"),
        (
            "mask-clusters",
            "calibration.text=tinystories_v2",
            "The corpus 'tinystories_v2' is not on this machine",
        ),
        ("dig", "text=nowhere.txt", "There is no text 'nowhere.txt'"),
        ("ndt", "sets=[digits,mnist]", "'mnist/train-images-idx3-ubyte.gz' is not on this machine"),
        ("graft-quick", "data=usps", "'usps/usps.bz2' is not on this machine"),
        ("nwa", "recipe.datasets=[cifar10]", "'cifar10/cifar-10-binary.tar.gz' is not on this machine"),
        (
            "graft-quick",
            "choices=[{data: kmnist, old: [0], shared: [0], new: [1], foreign: [2]}]",
            "'kmnist/train-images-idx3-ubyte.gz' is not on this machine",
        ),
    ],
)
def test_data_that_is_not_there_is_refused_before_there_is_a_run(
    monkeypatch, tmp_path, study, given, sentence
):
    monkeypatch.setenv("DIGSITE_DATA", str(tmp_path))
    monkeypatch.setenv("DIGSITE_OFFLINE", "1")
    known = ["model=py:digsite.joint.subjects.model:trained_network"] if study == "dig" else []
    with pytest.raises(NotFound, match=sentence) as refused:
        plan_run(find_study(study), overrides=[*known, given])
    assert refused.value.hint


def test_data_that_may_be_fetched_or_lies_there_in_another_form_is_not(monkeypatch, tmp_path):
    monkeypatch.setenv("DIGSITE_DATA", str(tmp_path))
    assert plan_run(find_study("graft-all"), size="quick").tree["data"] == "mnist"  # it would be downloaded
    assert plan_run(find_study("mask-clusters"), overrides=["calibration.text=tinyshakespeare"]).tree
    monkeypatch.setenv("DIGSITE_OFFLINE", "1")
    with pytest.raises(NotFound, match="'mnist/train"):
        plan_run(find_study("graft-all"), size="quick")
    (tmp_path / "usps").mkdir()
    (tmp_path / "usps" / "usps.npz").touch()
    assert plan_run(find_study("graft-quick"), overrides=["data=usps"]).tree["data"] == "usps"


def test_as_many_neurons_as_features_leave_nothing_to_save():
    with pytest.raises(UsageError, match="must be fewer than features"):
        plan_run(find_study("resid-mlp-as-published"), size="smoke", overrides=["target.model.d_mlp=1000"])


def test_losses_are_taken_once_at_a_step():
    with pytest.raises(UsageError, match="at most 61 checkpoints"):
        plan_run(find_study("hidden-breakthroughs"), size="smoke", overrides=["checkpoints=64"])


@pytest.mark.parametrize(
    ("study", "given", "sentence"),
    [
        ("dig", f"model={'x' * 300}", "Looking for what 'model' names failed"),
        ("mask-clusters-single", f"model={'x' * 300}", "too long"),
        ("graft-injection", "methods=[[]]", "'methods.0' cannot be"),
    ],
)
def test_what_the_system_or_a_list_of_names_cannot_hold_is_a_sentence(study, given, sentence):
    with pytest.raises(UsageError, match=sentence):
        plan_run(find_study(study), size="smoke", overrides=[given])
