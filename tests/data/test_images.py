import pytest
import torch

from digsite.base.errors import NotFound
from digsite.data import load, names


def test_digits_are_bundled_and_split_by_image():
    digits = load("digits")
    assert digits.image_shape == (1, 8, 8)
    assert (len(digits.x_train), len(digits.x_test), digits.n_classes) == (1000, 797, 10)
    assert digits.x_train.min() == 0 and digits.x_train.max() == 1
    assert torch.equal(digits.x_train, load("digits").x_train)
    assert torch.bincount(digits.y_train).min() > 80


def test_an_unknown_set_answers_with_the_nearest():
    with pytest.raises(NotFound, match=r"no image set 'fashion-mnist'.*'fashion_mnist'"):
        load("fashion-mnist")


def test_sets_are_found_by_scanning():
    assert {"digits", "mnist", "fashion_mnist", "kmnist", "qmnist", "cifar10", "usps"} <= set(names())


@pytest.mark.parametrize(
    ("name", "n_train", "shape"),
    [("mnist", 60000, (1, 28, 28)), ("usps", 7291, (1, 16, 16)), ("cifar10", 10000, (3, 32, 32))],
)
def test_real_sets(data_dir, monkeypatch, name, n_train, shape):
    monkeypatch.setenv("DIGSITE_DATA", str(data_dir))
    monkeypatch.setenv("DIGSITE_OFFLINE", "1")
    found = load(name)
    assert len(found.x_train) == n_train and found.image_shape == shape
    assert float(found.x_train.amax()) == 1.0
