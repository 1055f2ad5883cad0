import torch

from digsite.read.judge import published


def test_the_answers_are_in_the_input():
    zoo = published.make_noise_zoo(6, 0, (1, 1))
    assert zoo.features.shape == (6, 50) and (zoo.features[:, 37:] == 0).all()
    leaked = published.leak_columns(zoo)
    assert all(leaked[name] for name in ("val_accuracy", "weight_mean", "weight_std"))


def test_every_network_of_a_batch_gets_one_answer():
    reader = published.PublishedReader(graph=True).eval()
    _, values = reader(torch.randn(5, 50))
    assert (values == values[0]).all()
    _, own = published.PublishedReader(graph=False).eval()(torch.randn(5, 50))
    assert not (own == own[0]).all()


def test_blanking_hides_columns():
    x = torch.ones(2, 50)
    assert published.blank_columns(x, [3])[:, 3].sum() == 0 and published.blank_columns(x, None) is x
