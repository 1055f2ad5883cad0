"""MNIST: 60,000 + 10,000 handwritten digits, 28x28 (LeCun, Bottou, Bengio, Haffner 1998)."""

from digsite.data.fetch import Source
from digsite.data.idx import read_image_set
from digsite.data.images import ImageSet

BASES = ("https://ossci-datasets.s3.amazonaws.com/mnist", "http://yann.lecun.com/exdb/mnist")


def _source(file: str, sha256: str) -> Source:
    return Source(file, f"sha256:{sha256}", tuple(f"{base}/{file}" for base in BASES))


SOURCES = (
    _source("train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    _source("train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    _source("t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    _source("t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
)


def read() -> ImageSet:
    return read_image_set("mnist", SOURCES, tuple("0123456789"))
