"""USPS: 7,291 + 2,007 handwritten digits of the US Postal Service, 16x16 (Hull 1994)."""

import bz2

import numpy as np

from digsite.data.fetch import Source, find, locate
from digsite.data.images import ImageSet, from_numpy

BASE = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass"
TRAIN = Source("usps.bz2", "md5:ec16c51db3855ca6c91edd34d0e9b197", (f"{BASE}/usps.bz2",))
TEST = Source("usps.t.bz2", "md5:8ea070ee2aca1ac39742fdd1ef5ed118", (f"{BASE}/usps.t.bz2",))
CLASSES = tuple("0123456789")


def read() -> ImageSet:
    """From `usps.npz` where a data folder has it, otherwise from the two published LIBSVM files."""
    if npz := find("usps", "usps.npz"):
        with np.load(npz) as arrays:
            train = arrays["x_train"], arrays["y_train"]
            return from_numpy("usps", train, (arrays["x_test"], arrays["y_test"]), CLASSES)
    return from_numpy("usps", _libsvm(TRAIN), _libsvm(TEST), CLASSES)


def _libsvm(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Labels 1 to 10 for the digits 0 to 9, pixels in [-1, 1]."""
    from sklearn.datasets import load_svmlight_file

    with bz2.open(locate("usps", source)) as file:
        pixels, labels = load_svmlight_file(file, n_features=256)
    images = (np.asarray(pixels.todense(), np.float32).reshape(-1, 16, 16) + 1) / 2
    return images, labels - 1
