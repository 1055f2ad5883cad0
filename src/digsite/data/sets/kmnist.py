"""Kuzushiji-MNIST: 60,000 + 10,000 cursive hiragana, 28x28 (Clanuwat et al. 2018)."""

from digsite.data.fetch import Source
from digsite.data.idx import read_image_set
from digsite.data.images import ImageSet

BASE = "http://codh.rois.ac.jp/kmnist/dataset/kmnist"
CLASSES = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")


def _source(file: str, sha256: str) -> Source:
    return Source(file, f"sha256:{sha256}", (f"{BASE}/{file}",))


SOURCES = (
    _source("train-images-idx3-ubyte.gz", "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4"),
    _source("train-labels-idx1-ubyte.gz", "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17"),
    _source("t10k-images-idx3-ubyte.gz", "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5"),
    _source("t10k-labels-idx1-ubyte.gz", "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c"),
)


def read() -> ImageSet:
    return read_image_set("kmnist", SOURCES, CLASSES)
