"""Cross-entropy, accuracy and KL against torch's own and against closed forms."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from digsite.decompose import decompose
from digsite.decompose.config import DecomposeConfig
from digsite.decompose.core.fit import Problem
from digsite.decompose.core.scene import measure_gap
from digsite.decompose.judge import answers
from digsite.decompose.subjects.tasks import IGNORED, Task, label_next_token, sample_rows
from digsite.models import build, parse


def test_labels_are_the_next_tokens():
    tokens = torch.tensor([[3, 1, 4], [1, 5, 9]])
    assert label_next_token(tokens).tolist() == [[1, 4, IGNORED], [5, 9, IGNORED]]


def test_rows_are_drawn_from_what_is_there():
    tokens = torch.arange(12).view(6, 2)
    draw = sample_rows(tokens, 4)
    drawn = draw(torch.Generator().manual_seed(0))
    assert drawn.shape == (4, 2) and {tuple(r) for r in drawn.tolist()} <= {tuple(r) for r in tokens.tolist()}
    assert torch.equal(drawn, draw(torch.Generator().manual_seed(0)))


def test_answers_agree_with_torch():
    generator = torch.Generator().manual_seed(0)
    logits, wanted = torch.randn(2, 5, 7, generator=generator), torch.randn(2, 5, 7, generator=generator)
    labels = label_next_token(torch.randint(7, (2, 5), generator=generator))
    found = answers.judge_logits(logits, wanted, labels)
    assert found.ce == pytest.approx(
        float(F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, :-1].flatten()))
    )
    kl = F.kl_div(logits.log_softmax(-1), wanted.softmax(-1), reduction="none").sum(-1).mean()
    assert found.kl == pytest.approx(float(kl), rel=1e-5)
    right = (logits[:, :-1].argmax(-1) == labels[:, :-1]).float().mean()
    assert found.accuracy == pytest.approx(float(right))


def test_recovered_is_one_at_the_target_and_zero_without_components():
    assert answers.recover_share(2.0, 2.0, 5.0) == 1
    assert answers.recover_share(5.0, 2.0, 5.0) == 0
    assert answers.recover_share(3.5, 2.0, 5.0) == 0.5
    assert math.isnan(answers.recover_share(2.0, 2.0, 2.0))


def test_an_exact_decomposition_answers_like_its_target(exact, batch):
    """Its components are neurons, and a neuron that is off adds nothing: keeping those that are on changes nothing."""
    scene = exact.scene(batch)
    found = answers.answer_maskings(scene, scene.output.argmax(-1), threshold=0.1, seed=0, only=None)
    for kind in ("ci", "rounded", "unmasked"):
        assert found[kind].kl == pytest.approx(0, abs=1e-6) and found[kind].ce == pytest.approx(
            found["target"].ce
        )
    assert found["zero"].kl > 0.01 and found["random"].kl > 1e-4
    half = answers.answer_maskings(scene, scene.output.argmax(-1), threshold=0.1, seed=0, only=[])
    assert all(each.kl == pytest.approx(0, abs=1e-7) for each in half.values())


# Scores of decompositions of token models whose answer is known.


@pytest.fixture
def task(exact):
    return Task(exact.model, lambda g: g, lambda g: g, lambda x: x[:, ::2].argmax(-1))


def test_an_exact_decomposition_recovers_everything(exact, batch, task):
    (row,) = answers.score_tokens(exact, task, [batch], 0.1)
    assert row["kl_recovered/rounded"] == pytest.approx(1, abs=1e-4)
    assert row["kl_recovered/ci"] == pytest.approx(1, abs=1e-4)
    assert row["kl_recovered/random_masks"] < 0.9
    on = (torch.relu(batch[:, ::2] + batch[:, 1::2]) > 0).sum(-1).float().mean()
    assert row["0/ci_l0"] == pytest.approx(float(on), rel=0.02)
    assert row["ci_l0"] == row["0/ci_l0"] + row["2/ci_l0"]
    assert row["0/alive_components"] == 4
    assert row["faithfulness"] == pytest.approx(0, abs=1e-10)


def test_rows_are_per_batch_and_their_mean_is_the_mean(exact, batch, task):
    rows = answers.score_tokens(exact, task, [batch[:100], batch[100:]], 0.1)
    mean = answers.average_rows(rows)
    assert mean["ce/target"] == pytest.approx((rows[0]["ce/target"] + rows[1]["ce/target"]) / 2)


# Leaving out one component through masks is the edited model's answer.

STORY = {"kind": "llama", "vocab": 11, "context": 8, "d_model": 8, "d_mlp": 12, "n_layers": 1}
ADDS = {"kind": "modular_mlp", "modulus": 11, "d_embed": 6, "d_out": 9}


def found(config: dict, modules: list[str], positions: int):
    model: nn.Module = build(parse(config), 0).eval()
    tokens = torch.randint(11, (5, positions), generator=torch.Generator().manual_seed(0))
    settings = {"C": 6, "steps": 3, "batch": 4, "compile": "never"}
    return decompose(model, modules, data=tokens, compare="kl", **settings), tokens


@pytest.mark.parametrize(
    ("config", "modules", "positions", "n"),
    [(STORY, ["model.embed_tokens", "model.layers.*.mlp.up_proj"], 8, 8), (ADDS, ["l1"], 2, 1)],
)
def test_leaving_a_component_out_is_what_the_edited_model_does(config, modules, positions, n):
    made, tokens = found(config, modules, positions)
    scene = made.scene(tokens)
    for module in made.modules:
        numbers = answers.rank_most_used(scene, module, 3)
        effect = answers.measure_effects(scene, module, numbers)
        assert effect.kl.shape == effect.first.shape == (3, 5, n)
        edited = made.ablate({module: [int(numbers[1])]})
        with torch.no_grad():
            output = edited(tokens)
        expected = measure_gap(output, made.model(tokens), "kl").reshape(5, n)
        torch.testing.assert_close(effect.kl[1], expected, rtol=1e-3, atol=1e-6)
        assert torch.equal(effect.first[1], output.argmax(-1).reshape(5, n))


def test_the_most_used_come_first():
    made, tokens = found(STORY, ["model.layers.*.mlp.up_proj"], 8)
    [module] = made.modules
    mean = made.importance(tokens)[module].flatten(0, -2).mean(0)
    numbers = answers.rank_most_used(made.scene(tokens), module, 4)
    assert mean[numbers].tolist() == mean.sort(descending=True).values[:4].tolist()


# What a step keeps, against what must be there.

LM = parse({"kind": "llama", "vocab": 20, "context": 16, "d_model": 16, "d_mlp": 24, "n_layers": 1})


@pytest.fixture(scope="module")
def table():
    def tokens(generator):
        return torch.randint(20, (4, 16), generator=generator)

    problem = Problem([build(LM, 0)], ["model.layers.*.mlp.*"], tokens)
    losses = {"a": {"kind": "recon"}, "b": {"kind": "recon", "routing": "layerwise"}}
    config = DecomposeConfig.model_validate({"C": 40, "compare": "kl", "losses": losses})
    return answers.measure_memory(problem, config, [20, 40])


def test_parameters_are_counted_exactly(table):
    per_component = 3 * (16 + 24) + 3 * (16 + 16 + 16 + 1)  # V, U and a gate with 16 hidden units
    assert table["parameters_mb"][-1] == pytest.approx(40 * per_component * 4 / 1e6)
    assert table["optimizer_mb"] == pytest.approx([2 * mb for mb in table["parameters_mb"]])


def test_kept_activations_grow_with_components_and_shrink_by_recomputing(table):
    rows = dict(zip(zip(table["C"], table["recompute"]), table["kept_mb"]))
    gates = 3 * 4 * 16 * 40 * 16 * 4 / 1e6  # modules, positions, components, hidden units, bytes
    assert rows[40, False] > gates
    assert 1.5 < rows[40, False] / rows[20, False] < 2.1
    assert rows[40, True] < 0.5 * rows[40, False]
