"""What is said of a model: on states that were planted in a network, and that everything stands beside something."""

import pytest
import torch
from torch import nn

from digsite.base import families
from digsite.joint.core.statements import Allowance
from digsite.joint.experiments.dig import BLOCKS
from digsite.joint.judge.blocks import composition, condition, origin, pruning, stability
from digsite.joint.subjects import model as subjects
from digsite.joint.subjects.model import trained_network
from digsite.models.opening import of_module
from digsite.weights import write_weights

PLENTY = Allowance(1e6)


class OnModule(subjects.Subject):
    """A subject around a module at hand."""

    def __init__(self, module: nn.Module, **named) -> None:
        super().__init__("a module", **named)
        self.__dict__["opened"] = of_module(module)


def fresh(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 10)).eval()


def said(answer) -> dict:
    return {one.key: one for one in answer.statements}


def test_a_trained_network_is_called_trained_and_a_fresh_one_untrained():
    assert (
        "weights are not random"
        in said(condition.examine(OnModule(trained_network()), PLENTY))["trained"].text
    )
    assert "looks untrained" in said(condition.examine(OnModule(fresh()), PLENTY))["trained"].text


def test_what_was_done_to_a_network_is_named():
    module = fresh()
    with torch.no_grad():
        groups = module[0].weight.view(48, -1, 4)
        groups.scatter_(-1, groups.abs().argsort(-1)[..., :2], 0.0)
        module[2].weight[3, 5] = torch.nan
    found = said(condition.examine(OnModule(module), PLENTY))
    assert "keep 2:4" in found["zeros"].text and found["zeros"].p < 1e-6
    assert "1 number is NaN" in found["finite"].text and found["finite"].quote


def test_a_layer_that_was_copied_is_named():
    module = nn.Sequential(*(nn.Linear(32, 32) for _ in range(4))).eval()
    with torch.no_grad():
        module[3].weight.copy_(module[1].weight)
    found = said(condition.examine(OnModule(module), PLENTY))["twins"]
    assert "'1.weight' and '3.weight' are equal" in found.text and found.p < 1e-9


def test_relatives_are_found_in_a_folder_and_strangers_are_not(tmp_path):
    for name, module in (("parent", fresh(1)), ("stranger", fresh(2)), ("other", fresh(3))):
        write_weights(tmp_path / f"{name}.safetensors", module.state_dict())
    child = fresh(1)
    with torch.no_grad():
        for parameter in child.parameters():
            parameter += 0.02 * parameter.std() * torch.randn_like(parameter)
    found = said(origin.examine(OnModule(child, relatives=str(tmp_path)), PLENTY))["relatives"]
    assert "1 of 3 networks are related to it, nearest 'parent'" in found.text and found.p < 0.05
    assert (
        "None of 3"
        in said(origin.examine(OnModule(fresh(9), relatives=str(tmp_path)), PLENTY))["relatives"].text
    )


def test_the_loss_of_normal_weights_is_that_of_the_closed_form():
    drawn = torch.randn(400, 500, generator=torch.Generator().manual_seed(0))
    for share in pruning.SHARES:
        assert pruning._losses(drawn)[f"lost at {share:.0%}"] == pytest.approx(
            pruning.gaussian_loss(share), abs=2e-3
        )


def test_noise_has_the_size_that_is_said_and_rounding_few_levels():
    before = fresh()[0].weight.detach()
    noisy, rounded = before.clone(), before.clone()
    stability.add_noise(0.1, seed=0)("w", noisy)
    change = noisy - before
    assert float(change.square().mean() / before.square().mean()) ** 0.5 == pytest.approx(0.1, rel=0.05)
    stability.round_rows(4)("w", rounded)
    assert len(torch.unique(rounded[0])) <= 15


def test_without_data_or_relatives_the_reason_is_said():
    subject = OnModule(fresh())
    assert "nothing to feed it" in stability.examine(subject, PLENTY).skipped
    assert "no folder" in origin.examine(subject, PLENTY).skipped


def test_a_folder_of_checkpoints_is_answered_with_track(tmp_path):
    for step in range(6):
        write_weights(tmp_path / f"step_{step * 100}.safetensors", fresh(step).state_dict())
    assert [step for step, _ in subjects.list_checkpoints(tmp_path)] == [0, 100, 200, 300, 400, 500]


def test_numbered_networks_are_a_training_only_where_they_follow_each_other(tmp_path):
    state = fresh(0).state_dict()
    for number in range(6):
        write_weights(tmp_path / "apart" / f"net{number}.safetensors", fresh(number).state_dict())
        moved = {name: value + 0.005 * number * torch.randn(value.shape) for name, value in state.items()}
        write_weights(tmp_path / "along" / f"net{number}.safetensors", moved)
    assert not subjects.list_checkpoints(tmp_path / "apart")
    assert len(subjects.list_checkpoints(tmp_path / "along")) == 6


def pruned_network() -> nn.Module:
    module = fresh()
    with torch.no_grad():
        groups = module[0].weight.view(48, -1, 4)
        groups.scatter_(-1, groups.abs().argsort(-1)[..., :2], 0.0)
        module[2].weight[3, 5] = torch.nan
        module[2].weight[7] = 0.0
    return module


def filtering_network() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 10)).eval()


MODELS = {
    "trained, with data": lambda folder: OnModule(trained_network(), data="digits", relatives=folder),
    "trained, without": lambda folder: OnModule(trained_network()),
    "pruned, with a NaN": lambda folder: OnModule(pruned_network()),
    "filters": lambda folder: OnModule(filtering_network(), relatives=folder),
    "weights alone": lambda folder: subjects.Subject(f"{folder}/net.safetensors", relatives=folder),
}


@pytest.mark.parametrize("model", MODELS)
def test_every_statement_has_a_null_or_says_that_it_has_none(model, tmp_path):
    write_weights(tmp_path / "net.safetensors", fresh(1).state_dict())
    write_weights(tmp_path / "other.safetensors", trained_network().state_dict())
    check_statements(MODELS[model](str(tmp_path)))


def test_every_statement_about_a_language_model_has_one_too(data_dir):
    check_statements(subjects.Subject(str(data_dir / "lm" / "stories260K"), steps=3))


def check_statements(subject):
    for name in families.list_members(BLOCKS):
        answer = families.scan_member(BLOCKS, name).examine(subject, Allowance(4.0))
        assert answer.statements or answer.skipped
        for one in answer.statements:
            assert one.title and one.text.endswith(".") and one.beside
            assert one.null is not None or one.p is not None or "no null" in one.beside, one


def test_a_pattern_that_as_many_zeros_keep_by_chance_is_none():
    module = fresh()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(torch.rand(parameter.shape) < 0.05)
            parameter.view(-1)[1::2] = 0.0
        module[2].weight[2:] = 0.0
    told = said(condition.examine(OnModule(module), PLENTY))
    assert told["zeros"].text.startswith("It was pruned or is sparse")


def test_all_zero_weights_are_no_failure():
    module = fresh()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    for name in families.list_members(BLOCKS):
        families.scan_member(BLOCKS, name).examine(OnModule(module), PLENTY)
    told = said(condition.examine(OnModule(module), PLENTY))
    assert told["trained"].text == "Nothing was learned: all numbers in its matrices are zero."
    assert not told["zeros"].text.startswith("It was pruned")


def test_the_matrix_that_was_planted_is_the_one_that_is_taken_apart():
    module = nn.Sequential(
        nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 10)
    ).eval()
    with torch.no_grad():
        module[2].weight.add_(3 * torch.outer(torch.ones(24), torch.ones(32)))
    assert composition.choose_matrix(module) == "2"


def test_parts_stand_beside_singular_parts_and_random_directions():
    subject = OnModule(trained_network(), data="digits")
    answer = composition.examine(subject, Allowance(3.0))
    (row,) = answer.tables["parts"]
    assert (
        answer.statements[0].null == row["moved by random directions"]
        and row["moved"] < row["moved without any"]
    )
    assert composition.examine(OnModule(trained_network()), PLENTY).skipped.startswith(
        "there is nothing to feed it"
    )


def test_hidden_states_are_compared_by_distance_and_answers_by_divergence():
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    subject = OnModule(transformers.BertModel(transformers.BertConfig(vocab_size=40, **sizes)).eval())
    subject.__dict__["batch"] = {"input_ids": torch.randint(0, 40, (4, 6))}
    assert "KL" not in stability.examine(subject, PLENTY).statements[0].text
    masked = OnModule(transformers.BertForMaskedLM(transformers.BertConfig(vocab_size=40, **sizes)).eval())
    masked.__dict__["batch"] = {"input_ids": torch.randint(0, 40, (4, 6))}
    assert "KL" in stability.examine(masked, PLENTY).statements[0].text


def test_parts_that_are_all_needed_are_said_to_be_none():
    scores = dict.fromkeys(
        ("moved", "moved by singular parts", "moved by random directions", "moved without any"), 1.0
    )
    told = composition._say_parts("m", scores | {"parts": 10.0, "parts at a position": 9.5}, 30, "nats of KL")
    assert "too short" in told.text
    told = composition._say_parts("m", scores | {"parts": 10.0, "parts at a position": 2.0}, 30, "nats of KL")
    assert "too short" not in told.text


def test_changes_are_undone_exactly():
    module = trained_network()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with stability.while_changed(OnModule(module), stability.add_noise(0.1, 0)):
        assert not torch.equal(module.state_dict()["layers.0.weight"], before["layers.0.weight"])
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
