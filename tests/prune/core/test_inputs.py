import pytest
import torch

from digsite.base.errors import UsageError
from digsite.prune.core.inputs import InputStatistics, collect

X = torch.randn(5, 40, 12, generator=torch.Generator().manual_seed(0))


def test_running_means_are_the_closed_forms():
    found = collect(X)
    exact = X.double().flatten(0, 1)
    torch.testing.assert_close(found.square_norms.double(), (exact**2).sum(0) / 5, rtol=1e-5, atol=0)
    torch.testing.assert_close(found.hessian.double(), 2 / 5 * exact.T @ exact, rtol=1e-4, atol=1e-4)
    assert (found.n_sequences, found.n_tokens) == (5, 200)


def test_batches_and_single_sequences_agree():
    together = InputStatistics.empty(12)
    together.update(X[:3])
    together.update(X[3:])
    torch.testing.assert_close(together.hessian, collect(X).hessian, rtol=1e-5, atol=1e-5)
    assert collect(X[0]).n_sequences == 1


def test_inputs_that_cannot_be_used_are_refused():
    broken = X.clone()
    broken[2, 3, 4] = torch.nan
    with pytest.raises(UsageError, match="not finite in 1 of 12 channels .first: channel 4"):
        collect(broken)
    with pytest.raises(UsageError, match="got shape"):
        collect(X[0, 0])
    with pytest.raises(UsageError, match="No calibration inputs reached"):
        InputStatistics.empty(3).checked("'mlp.up_proj'")


def test_the_sampled_error_is_close_to_the_exact_one_and_no_place_is_preferred():
    """First tokens of windows are large here, as in language models: the same places of each would overweight them."""
    from digsite.prune.core.matrix import output_error, relative_error

    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(64, 128, 24, generator=generator)
    inputs[:, 0] *= 30
    sampled = InputStatistics.empty(24, gram=False, per_batch=8)
    for window in inputs:
        sampled.update(window)
    assert sampled.sample is not None and sampled.sample.shape == (512, 24)
    weight = torch.randn(16, 24, generator=generator)
    pruned = weight * (torch.rand(16, 24, generator=generator) < 0.5)
    exact = relative_error(weight, pruned, collect(inputs).gram)
    assert output_error(weight, pruned, sampled) == pytest.approx(exact, rel=0.15)
