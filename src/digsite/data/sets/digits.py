"""Handwritten digits, 8x8, bundled with scikit-learn: 1,000 to train and 797 to test."""

import numpy as np

from digsite.data.images import ImageSet, from_numpy

N_TRAIN = 1000


def read() -> ImageSet:
    from sklearn.datasets import load_digits

    images, labels = map(np.asarray, load_digits(return_X_y=True))
    images = (images.reshape(-1, 8, 8) / 16).astype(np.float32)
    # The file is ordered by writer, so a cut without shuffling would test on other hands than it trains on.
    order = np.random.default_rng(0).permutation(len(images))
    train, test = order[:N_TRAIN], order[N_TRAIN:]
    classes = tuple("0123456789")
    return from_numpy("digits", (images[train], labels[train]), (images[test], labels[test]), classes)
