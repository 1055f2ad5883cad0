"""QMNIST: MNIST rebuilt from its source, with 60,000 test digits instead of 10,000 (Yadav, Bottou 2019)."""

from digsite.data.fetch import Source, locate
from digsite.data.idx import read_idx
from digsite.data.images import ImageSet, from_numpy

BASE = "https://raw.githubusercontent.com/facebookresearch/qmnist/master"


def _source(file: str, md5: str) -> Source:
    return Source(file, f"md5:{md5}", (f"{BASE}/{file}",))  # the publisher gives MD5 sums only


SOURCES = (
    _source("qmnist-train-images-idx3-ubyte.gz", "ed72d4157d28c017586c42bc6afe6370"),
    _source("qmnist-train-labels-idx2-int.gz", "0058f8dd561b90ffdd0f734c6a30e5e4"),
    _source("qmnist-test-images-idx3-ubyte.gz", "1394631089c404de565df7b7aeaf9412"),
    _source("qmnist-test-labels-idx2-int.gz", "5b5b05890a5e13444e108efe57b788aa"),
)


def read() -> ImageSet:
    train_x, train_y, test_x, test_y = (read_idx(locate("qmnist", source)) for source in SOURCES)
    # a label is a row of eight integers about the writer, the first of which is the class
    return from_numpy("qmnist", (train_x, train_y[:, 0]), (test_x, test_y[:, 0]), tuple("0123456789"))
