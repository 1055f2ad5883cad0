"""Handwritten characters: the bundled digits, the MNIST family in IDX files, and USPS."""

import bz2

import numpy as np

from digsite.data.fetch import Source, find_file, list_sources, locate_file
from digsite.data.images import ImageSet, from_numpy, read_idx, read_image_set
from digsite.data.sets import SetReader

DIGITS = tuple("0123456789")


class Digits(SetReader):
    """Handwritten digits, 8x8, bundled with scikit-learn: 1,000 to train and 797 to test."""

    @staticmethod
    def read_set() -> ImageSet:
        from sklearn.datasets import load_digits

        images, labels = map(np.asarray, load_digits(return_X_y=True))
        images = (images.reshape(-1, 8, 8) / 16).astype(np.float32)
        # The file is ordered by writer, so a cut without shuffling would test on other hands than it trains on.
        order = np.random.default_rng(0).permutation(len(images))
        train, test = order[:1000], order[1000:]
        return from_numpy("digits", (images[train], labels[train]), (images[test], labels[test]), DIGITS)


class Mnist(SetReader):
    """MNIST: 60,000 + 10,000 handwritten digits, 28x28 (LeCun, Bottou, Bengio, Haffner 1998)."""

    FILES = list_sources(
        ("https://ossci-datasets.s3.amazonaws.com/mnist", "http://yann.lecun.com/exdb/mnist"),
        "sha256",
        ("train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        ("train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        ("t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        ("t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    )

    @staticmethod
    def read_set() -> ImageSet:
        return read_image_set("mnist", Mnist.FILES, DIGITS)


class Kmnist(SetReader):
    """Kuzushiji-MNIST: 60,000 + 10,000 cursive hiragana, 28x28 (Clanuwat et al. 2018)."""

    FILES = list_sources(
        ("http://codh.rois.ac.jp/kmnist/dataset/kmnist",),
        "sha256",
        ("train-images-idx3-ubyte.gz", "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4"),
        ("train-labels-idx1-ubyte.gz", "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17"),
        ("t10k-images-idx3-ubyte.gz", "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5"),
        ("t10k-labels-idx1-ubyte.gz", "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c"),
    )

    @staticmethod
    def read_set() -> ImageSet:
        return read_image_set(
            "kmnist", Kmnist.FILES, ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
        )


class Qmnist(SetReader):
    """QMNIST: MNIST rebuilt from its source, with 60,000 test digits instead of 10,000 (Yadav, Bottou 2019)."""

    FILES = list_sources(
        ("https://raw.githubusercontent.com/facebookresearch/qmnist/master",),
        "md5",  # the publisher gives no other sums
        ("qmnist-train-images-idx3-ubyte.gz", "ed72d4157d28c017586c42bc6afe6370"),
        ("qmnist-train-labels-idx2-int.gz", "0058f8dd561b90ffdd0f734c6a30e5e4"),
        ("qmnist-test-images-idx3-ubyte.gz", "1394631089c404de565df7b7aeaf9412"),
        ("qmnist-test-labels-idx2-int.gz", "5b5b05890a5e13444e108efe57b788aa"),
    )

    @staticmethod
    def read_set() -> ImageSet:
        train_x, train_y, test_x, test_y = (
            read_idx(locate_file("qmnist", source)) for source in Qmnist.FILES
        )
        # a label is a row of eight integers about the writer, the first of which is the class
        return from_numpy("qmnist", (train_x, train_y[:, 0]), (test_x, test_y[:, 0]), DIGITS)


class Usps(SetReader):
    """USPS: 7,291 + 2,007 handwritten digits of the US Postal Service, 16x16 (Hull 1994)."""

    FILES = list_sources(
        ("https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass",),
        "md5",
        ("usps.bz2", "ec16c51db3855ca6c91edd34d0e9b197"),
        ("usps.t.bz2", "8ea070ee2aca1ac39742fdd1ef5ed118"),
    )

    INSTEAD = ("usps", "usps.npz")

    @staticmethod
    def read_set() -> ImageSet:
        """From `usps.npz` where a data folder has it, otherwise from the two published LIBSVM files."""
        if npz := find_file(*Usps.INSTEAD):
            with np.load(npz) as arrays:
                train = arrays["x_train"], arrays["y_train"]
                return from_numpy("usps", train, (arrays["x_test"], arrays["y_test"]), DIGITS)
        train, test = (_read_libsvm(source) for source in Usps.FILES)
        return from_numpy("usps", train, test, DIGITS)


def _read_libsvm(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels: the file has labels 1 to 10 for the digits 0 to 9, and pixels in [-1, 1]."""
    from sklearn.datasets import load_svmlight_file

    with bz2.open(locate_file("usps", source)) as file:
        pixels, labels = load_svmlight_file(file, n_features=256)
    images = (np.asarray(pixels.todense(), np.float32).reshape(-1, 16, 16) + 1) / 2
    return images, labels - 1
