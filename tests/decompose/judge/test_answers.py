"""Cross-entropy, accuracy and KL against torch's own and against closed forms."""

import math

import pytest
import torch
from torch.nn import functional as F

from digsite.decompose.judge import answers
from digsite.decompose.subjects.tasks import IGNORED, next_token, rows


def test_labels_are_the_next_tokens():
    tokens = torch.tensor([[3, 1, 4], [1, 5, 9]])
    assert next_token(tokens).tolist() == [[1, 4, IGNORED], [5, 9, IGNORED]]


def test_rows_are_drawn_from_what_is_there():
    tokens = torch.arange(12).view(6, 2)
    draw = rows(tokens, 4)
    drawn = draw(torch.Generator().manual_seed(0))
    assert drawn.shape == (4, 2) and {tuple(r) for r in drawn.tolist()} <= {tuple(r) for r in tokens.tolist()}
    assert torch.equal(drawn, draw(torch.Generator().manual_seed(0)))


def test_answers_agree_with_torch():
    generator = torch.Generator().manual_seed(0)
    logits, wanted = torch.randn(2, 5, 7, generator=generator), torch.randn(2, 5, 7, generator=generator)
    labels = next_token(torch.randint(7, (2, 5), generator=generator))
    found = answers.judge(logits, wanted, labels)
    assert found.ce == pytest.approx(
        float(F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, :-1].flatten()))
    )
    kl = F.kl_div(logits.log_softmax(-1), wanted.softmax(-1), reduction="none").sum(-1).mean()
    assert found.kl == pytest.approx(float(kl), rel=1e-5)
    right = (logits[:, :-1].argmax(-1) == labels[:, :-1]).float().mean()
    assert found.accuracy == pytest.approx(float(right))


def test_recovered_is_one_at_the_target_and_zero_without_components():
    assert answers.recovered(2.0, 2.0, 5.0) == 1
    assert answers.recovered(5.0, 2.0, 5.0) == 0
    assert answers.recovered(3.5, 2.0, 5.0) == 0.5
    assert math.isnan(answers.recovered(2.0, 2.0, 2.0))


def test_an_exact_decomposition_answers_like_its_target(exact, batch):
    """Its components are neurons, and a neuron that is off adds nothing: keeping those that are on changes nothing."""
    scene = exact.scene(batch)
    found = answers.maskings(exact, scene, scene.output.argmax(-1), threshold=0.1, seed=0, only=None)
    for kind in ("ci", "rounded", "unmasked"):
        assert found[kind].kl == pytest.approx(0, abs=1e-6) and found[kind].ce == pytest.approx(
            found["target"].ce
        )
    assert found["zero"].kl > 0.01 and found["random"].kl > 1e-4
    half = answers.maskings(exact, scene, scene.output.argmax(-1), threshold=0.1, seed=0, only=[])
    assert all(each.kl == pytest.approx(0, abs=1e-7) for each in half.values())
