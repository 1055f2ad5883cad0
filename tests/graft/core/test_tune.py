import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from digsite.graft.core.tune import fit_network, fit_rows, train_companion


def data(n: int = 400):
    draw = torch.Generator().manual_seed(0)
    h = torch.randn(n, 6, generator=draw)
    y = ((h[:, 0] + 0.5 * torch.randn(n, generator=draw)) > 0.3).long()
    return h, y


def test_a_row_beside_one_constant_logit_is_logistic_regression():
    h, y = data()
    fit = fit_rows(h, torch.zeros(len(h), 2), y, [1], decay=1e-9, share=float(y.float().mean()))
    oracle = LogisticRegression(C=1e8, max_iter=1000).fit(h.numpy(), y.numpy())
    torch.testing.assert_close(fit.weight, torch.from_numpy(oracle.coef_).float(), atol=0.05, rtol=0.05)
    torch.testing.assert_close(fit.bias, torch.from_numpy(oracle.intercept_).float(), atol=0.05, rtol=0.05)


def test_a_feature_that_never_moves_does_no_harm():
    h, y = data()
    h[:, 3] = 7.0
    fit = fit_rows(h, torch.zeros(len(h), 2), y, [1])
    assert fit.weight.isfinite().all() and fit(h).isfinite().all()


def test_a_network_moves_towards_its_targets():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(200, 5, generator=draw)
    target = x @ torch.randn(5, 2, generator=draw)
    net = nn.Linear(5, 2)
    before = (net(x) - target).square().mean().item()
    mse = nn.functional.mse_loss
    fit_network(net, x, target, mse, steps=100, lr=0.05, batch=50, draw=draw)
    assert (net(x) - target).square().mean().item() < 0.05 * before


def test_a_companion_learns():
    h, y = data()
    net = train_companion([6, 8, 2], h, y, torch.Generator().manual_seed(0))
    assert (net(h).argmax(1) == y).float().mean() > 0.7
