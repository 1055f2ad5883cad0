import pytest
import torch

from digsite.base.errors import NotFound, UsageError
from digsite.graft.core.dictionaries import (
    SaeSpec,
    directions_of,
    explain_by_principal,
    find_kind,
    list_kinds,
    measure_quality,
    train_saes,
)
from digsite.graft.subjects.sae_files import load_sae, save_crosscoder, save_saelens, save_sparsify

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


# Transcoders rebuild what a map made of their inputs, crosscoders two models side by side.

TARGET = (DATA @ torch.randn(10, 6, generator=torch.Generator().manual_seed(2))).relu()


@pytest.mark.parametrize("kind", list_kinds())
def test_every_kind_can_be_a_transcoder(kind):
    spec = SaeSpec(kind, 24, KNOB.get(kind, 0.01))
    before, after = (train_saes(DATA, [spec], wanted=TARGET, steps=steps, lr=5e-3)[0] for steps in (1, 300))
    errors = [float((sae(DATA) - TARGET).square().mean().detach()) for sae in (before, after)]
    assert errors[1] < 0.5 * errors[0] and after.task == "transcoder"
    assert directions_of(after, DATA).shape == (24, 6)


def test_a_transcoder_rebuilds_the_outputs_themselves_when_they_are_the_inputs():
    same = train_saes(DATA, [SaeSpec("topk", 24, 3.0)], wanted=DATA, steps=300, lr=5e-3)[0]
    assert measure_quality(same, DATA)["explained"] > 0.8


@pytest.mark.parametrize("kind", ["l1", "jumprelu", "batch_topk"])
def test_a_transcoder_comes_back_from_saelens_and_follows_its_formula(kind, tmp_path):
    import json

    from safetensors.torch import load_file

    (sae,) = train_saes(DATA, [SaeSpec(kind, 24, KNOB.get(kind, 0.01))], wanted=TARGET, steps=100)
    save_saelens(sae, tmp_path)
    loaded = load_sae(tmp_path)
    assert loaded.task == "transcoder"
    torch.testing.assert_close(loaded(DATA), sae(DATA), atol=1e-4, rtol=1e-4)
    t, cfg = load_file(tmp_path / "sae_weights.safetensors"), json.loads((tmp_path / "cfg.json").read_text())
    codes = DATA @ t["W_enc"] + t["b_enc"]
    codes = codes * (codes > t["threshold"]) if "threshold" in t else codes
    torch.testing.assert_close(codes.relu() @ t["W_dec"] + t["b_dec"], sae(DATA), atol=1e-4, rtol=1e-4)
    assert (cfg["d_in"], cfg["d_out"]) == (10, 6) and "transcoder" in cfg["architecture"]


def test_a_crosscoder_is_one_code_for_two_models_at_their_own_scales(tmp_path):
    from safetensors.torch import load_file

    first, second = DATA[:, :5], 100 * DATA[:, 5:]
    both = torch.cat([first, second], 1)
    (sae,) = train_saes(both, [SaeSpec("crosscoder", 24, 0.01)], streams=2, steps=300, lr=5e-3)
    assert sae.scale[0] == pytest.approx(float(first.std()))
    assert sae.scale[9] == pytest.approx(float(second.std()))
    for part in (slice(0, 5), slice(5, 10)):
        left = (sae(both) - both)[:, part].square().sum() / both[:, part].square().sum()
        assert left.item() < 0.2
    save_crosscoder(sae, tmp_path)
    loaded = load_sae(tmp_path)
    assert (loaded.task, loaded.spec.kind) == ("crosscoder", "crosscoder")
    torch.testing.assert_close(loaded(both), sae(both), atol=1e-3, rtol=1e-4)
    t = load_file(
        tmp_path / "model.safetensors"
    )  # as the published code computes it: models on an axis of their own
    stacked = both.unflatten(1, (2, 5))
    codes = (torch.einsum("bld,ldf->bf", stacked, t["encoder.weight"]) + t["encoder.bias"]).relu()
    back = torch.einsum("bf,lfd->bld", codes, t["decoder.weight"]) + t["decoder.bias"]
    torch.testing.assert_close(back.flatten(1), sae(both), atol=1e-3, rtol=1e-4)


def test_a_crosscoder_pays_for_both_rows_of_a_code():
    draw = torch.Generator().manual_seed(0)
    kind = find_kind("crosscoder")
    p = {k: v[None] for k, v in kind.draw_parameters(10, 8, draw).items()}
    x, knob = DATA[None], torch.tensor([0.7])
    codes = (x[0] @ p["W_enc"][0]).relu()
    lengths = p["W_dec"][0, :, :5].norm(dim=1) + p["W_dec"][0, :, 5:].norm(dim=1)
    by_hand = (codes @ p["W_dec"][0] - DATA).square().mean() + 0.7 * (codes @ lengths).mean() / 10
    torch.testing.assert_close(kind.measure_loss(p, x, knob, x)[0], by_hand)
    with pytest.raises(UsageError, match="9 dimensions are odd"):
        kind.draw_parameters(9, 8, draw)


@pytest.mark.parametrize(
    ("more", "kind", "says"),
    [
        ({"wanted": TARGET[:-1]}, "l1", "299 outputs"),
        ({"wanted": TARGET, "streams": 2}, "l1", "and 2 models"),
        ({"streams": 3}, "l1", "10 dimensions are not 3 models"),
        ({}, "crosscoder", "give streams=2"),
    ],
)
def test_what_no_task_is(more, kind, says):
    with pytest.raises(UsageError, match=says):
        train_saes(DATA, [SaeSpec(kind, 8, 0.1)], steps=1, **more)


def test_no_layout_is_misused(tmp_path):
    (transcoder,) = train_saes(DATA, [SaeSpec("topk", 8, 2.0)], wanted=TARGET, steps=1)
    (crosscoder,) = train_saes(DATA, [SaeSpec("topk", 8, 2.0)], streams=2, steps=1)
    for save, sae in ((save_saelens, transcoder), (save_saelens, crosscoder), (save_sparsify, transcoder)):
        with pytest.raises(UsageError, match="layout holds"):
            save(sae, tmp_path / "no")
    with pytest.raises(UsageError, match="not a 'topk' crosscoder"):
        save_crosscoder(crosscoder, tmp_path / "no")
    from safetensors.torch import save_file

    (tmp_path / "config.json").write_text("{}")
    save_file({"encoder.weight": torch.zeros(2, 3)}, tmp_path / "model.safetensors")
    with pytest.raises(UsageError, match="no crosscoder"):
        load_sae(tmp_path)
