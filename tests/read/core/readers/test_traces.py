import numpy as np
import torch

from digsite.read.core.population import stack_models
from digsite.read.core.readers import traces


def _columns(model):
    names, values = traces.extract_traces(stack_models([model]).groups[0])
    return dict(zip(names, values[0]))


def _net(first):
    net = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4))
    with torch.no_grad():
        net[0].weight.copy_(first)
    return net


def test_orthogonal_rows_have_right_angles():
    rows = torch.nn.init.orthogonal_(torch.empty(8, 16), generator=torch.Generator().manual_seed(0))
    assert _columns(_net(rows))["layer0/angle_std"] < -10
    free = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
    assert _columns(_net(free))["layer0/angle_std"] > -2


def test_uniform_and_normal_weights_differ_in_every_pool():
    g = torch.Generator().manual_seed(0)
    flat, bell = torch.rand(64, 16, generator=g) - 0.5, torch.randn(64, 16, generator=g)
    nets = [torch.nn.Linear(16, 64) for _ in range(2)]
    with torch.no_grad():
        for net, weight in zip(nets, (flat, bell)):
            net.weight.copy_(weight)
    uniform, normal = (_columns(torch.nn.Sequential(n, torch.nn.Linear(64, 2))) for n in nets)
    assert all(uniform[f"quiet{i}_peak"] < 2 < normal[f"quiet{i}_peak"] for i in range(8))


def test_gradient_flow_conserves_the_balance():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1)).double()
    x, y = torch.randn(50, 6).double(), torch.randn(50, 1).double()
    before = np.array([v for k, v in _columns(net.float()).items() if "balance" in k])
    net = net.double()
    optimizer = torch.optim.SGD(net.parameters(), 1e-3)
    start = net[0].weight.detach().clone()
    for _ in range(500):
        optimizer.zero_grad()
        (net(x) - y).square().mean().backward()
        optimizer.step()
    after = np.array([v for k, v in _columns(net.float()).items() if "balance" in k])
    assert (net[0].weight - start).norm() > 0.1
    assert np.abs(after - before).max() < 2e-3
