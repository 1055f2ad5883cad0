"""Fashion-MNIST: 60,000 + 10,000 pieces of clothing, 28x28 (Xiao, Rasul, Vollgraf 2017)."""

from digsite.data.fetch import Source
from digsite.data.idx import read_image_set
from digsite.data.images import ImageSet

BASE = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def _source(file: str, sha256: str) -> Source:
    return Source(file, f"sha256:{sha256}", (f"{BASE}/{file}",))


SOURCES = (
    _source("train-images-idx3-ubyte.gz", "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
    _source("train-labels-idx1-ubyte.gz", "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
    _source("t10k-images-idx3-ubyte.gz", "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
    _source("t10k-labels-idx1-ubyte.gz", "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
)


def read() -> ImageSet:
    return read_image_set("fashion_mnist", SOURCES, CLASSES)
