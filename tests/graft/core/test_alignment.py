import torch

from digsite.graft.core.alignment import assign, by_activations, by_weights, permuted
from digsite.graft.core.nets import acts, plain_net


def made(seed: int = 0):
    draw = torch.Generator().manual_seed(seed)
    sizes = [(12, 8), (10, 12), (4, 10)]
    return [torch.randn(s, generator=draw) for s in sizes], [torch.randn(s[0], generator=draw) for s in sizes]


def shuffled(weights, biases):
    orders = [torch.randperm(len(w), generator=torch.Generator().manual_seed(5)) for w in weights[:-1]]
    return orders, permuted(weights, biases, orders)


def test_a_permuted_network_is_the_same_function():
    weights, biases = made()
    _, (w, b) = shuffled(weights, biases)
    x = torch.randn(30, 8)
    torch.testing.assert_close(plain_net(w, b)(x), plain_net(weights, biases)(x), atol=1e-4, rtol=1e-4)


def test_weights_alone_undo_a_permutation():
    weights, biases = made()
    _, (w, b) = shuffled(weights, biases)
    back, _ = permuted(w, b, by_weights(weights, w, draw=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(back, weights)


def test_activations_undo_a_permutation():
    weights, biases = made()
    _, (w, b) = shuffled(weights, biases)
    x = torch.randn(300, 8)
    orders = by_activations(acts(plain_net(weights, biases), x).hidden, acts(plain_net(w, b), x).hidden)
    back, _ = permuted(w, b, orders)
    torch.testing.assert_close(back, weights)


def test_assign_takes_the_best_total():
    assert assign(torch.tensor([[3.0, 2.0], [2.9, 0.0]])).tolist() == [1, 0]
