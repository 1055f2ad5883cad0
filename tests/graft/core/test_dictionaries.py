import pytest
import torch

from digsite.base.errors import NotFound, UsageError
from digsite.graft.core.dictionaries import (
    SaeSpec,
    directions_of,
    explain_by_principal,
    list_kinds,
    measure_quality,
    train_saes,
)
from digsite.graft.subjects.sae_files import load_sae, save_saelens, save_sparsify

KNOB = {"topk": 3.0, "batch_topk": 3.0}
DATA = torch.randn(300, 4, generator=torch.Generator().manual_seed(0)) @ torch.randn(
    4, 10, generator=torch.Generator().manual_seed(1)
)


def trained(kind: str, width: int = 24, steps: int = 200, **more):
    return train_saes(DATA, [SaeSpec(kind, width, KNOB.get(kind, 0.01), **more)], steps=steps, lr=5e-3)[0]


@pytest.mark.parametrize("kind", list_kinds())
def test_every_kind_learns(kind):
    assert (
        measure_quality(trained(kind), DATA)["explained"]
        > measure_quality(trained(kind, steps=1), DATA)["explained"] + 0.1
    )


@pytest.mark.parametrize("kind", list_kinds())
def test_a_member_is_the_same_alone(kind):
    specs = [SaeSpec(kind, 16, KNOB.get(kind, 0.05) * f, seed) for f, seed in ((1, 0), (2, 1))] + [
        SaeSpec(kind, 8, 2.0, 3)
    ]
    together = train_saes(DATA, specs, steps=30)
    for spec, one in zip(specs, together):
        (alone,) = train_saes(DATA, [spec], steps=30)
        torch.testing.assert_close(one(DATA), alone(DATA), atol=1e-4, rtol=1e-4)


def test_top_k_keeps_k():
    assert (trained("topk").encode(DATA) > 0).sum(1).max() <= 3


def test_batch_top_k_keeps_k_on_average():
    assert 1 < float((trained("batch_topk", steps=400).encode(DATA) > 0).sum(1).float().mean()) < 6


def test_a_larger_penalty_opens_fewer_codes():
    low, high = train_saes(DATA, [SaeSpec("l1", 24, 0.01), SaeSpec("l1", 24, 1.0)], steps=300, lr=5e-3)
    assert measure_quality(high, DATA)["open_codes"] < measure_quality(low, DATA)["open_codes"]


def test_jumprelu_learns_its_thresholds():
    low, high = train_saes(
        DATA, [SaeSpec("jumprelu", 24, 0.0), SaeSpec("jumprelu", 24, 2.0)], steps=300, lr=5e-3
    )
    assert measure_quality(high, DATA)["open_codes"] < measure_quality(low, DATA)["open_codes"]


@pytest.mark.parametrize("kind", ["l1", "topk", "batch_topk", "jumprelu"])
def test_saelens_folder_comes_back(kind, tmp_path):
    sae = trained(kind, steps=50)
    save_saelens(sae, tmp_path)
    torch.testing.assert_close(load_sae(tmp_path)(DATA), sae(DATA), atol=1e-4, rtol=1e-4)


def test_sparsify_folder_comes_back_and_follows_its_formula(tmp_path):
    from safetensors.torch import load_file

    sae = trained("topk", steps=50)
    save_sparsify(sae, tmp_path)
    torch.testing.assert_close(load_sae(tmp_path)(DATA), sae(DATA), atol=1e-4, rtol=1e-4)
    t = load_file(tmp_path / "sae.safetensors")
    codes = ((DATA - t["b_dec"]) @ t["encoder.weight"].T + t["encoder.bias"]).relu()
    top = codes.topk(3)
    by_hand = torch.zeros_like(codes).scatter(1, top.indices, top.values) @ t["W_dec"] + t["b_dec"]
    torch.testing.assert_close(by_hand, sae(DATA), atol=1e-4, rtol=1e-4)


def test_a_bias_taken_off_the_input_is_read(tmp_path):
    import json

    sae = trained("l1", steps=50)
    save_saelens(sae, tmp_path)
    cfg = json.loads((tmp_path / "cfg.json").read_text())
    (tmp_path / "cfg.json").write_text(json.dumps({**cfg, "apply_b_dec_to_input": True}))
    t = {k: v.detach() for k, v in sae.params.items()}
    shifted = DATA / sae.scale - t["b_dec"]
    by_hand = ((shifted @ t["W_enc"] + t["b_enc"]).relu() @ t["W_dec"] + t["b_dec"]) * sae.scale
    torch.testing.assert_close(load_sae(tmp_path)(DATA), by_hand, atol=1e-4, rtol=1e-4)


def test_what_no_layout_holds(tmp_path):
    with pytest.raises(UsageError, match="bottleneck"):
        save_saelens(trained("bottleneck", steps=2), tmp_path)
    with pytest.raises(UsageError, match="top-k"):
        save_sparsify(trained("l1", steps=2), tmp_path)
    with pytest.raises(NotFound, match=r"cfg\.json"):
        load_sae(tmp_path)


def test_bad_requests():
    with pytest.raises(NotFound, match="Did you mean 'topk'"):
        train_saes(DATA, [SaeSpec("topkk")])
    with pytest.raises(UsageError, match="too few"):
        train_saes(DATA[:1], [SaeSpec()])


def test_principal_directions_explain_everything_at_full_rank_and_nothing_at_rank_zero():
    x = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
    assert explain_by_principal(x, x, 6) == pytest.approx(1.0, abs=1e-5)
    assert explain_by_principal(x, x, 0) == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize(
    "change", [{"activation": "groupmax"}, {"transcode": True}, {"skip_connection": True}]
)
def test_a_sparsify_coder_of_another_make(change, tmp_path):
    import json

    save_sparsify(trained("topk", steps=2), tmp_path)
    cfg = json.loads((tmp_path / "cfg.json").read_text())
    (tmp_path / "cfg.json").write_text(json.dumps({**cfg, **change}))
    with pytest.raises(UsageError, match="is not read"):
        load_sae(tmp_path)


# A code's direction is what the output moves by, for linear decoders and for others.


@pytest.mark.parametrize("kind", list_kinds())
def test_directions_are_what_the_output_moves_by(kind):
    x = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
    (sae,) = train_saes(x, [SaeSpec(kind, 8, 2.0 if "topk" in kind else 0.01)], steps=20)
    found = directions_of(sae, x)
    mean = sae.encode(x).mean(0).detach()
    step = float(mean.abs().mean().clamp_min(1e-3))
    for code in range(8):
        moved = mean.clone()
        moved[code] += step
        expected = (sae.decode(moved[None]) - sae.decode(mean[None]))[0] / step
        torch.testing.assert_close(found[code], expected.detach(), rtol=1e-2, atol=1e-2)
