"""Things in small pictures: clothing in gray, and photographs in color."""

import tarfile
from pathlib import Path

import numpy as np

from digsite.base.errors import DigsiteError
from digsite.data.fetch import find_file, list_sources, locate_file
from digsite.data.images import ImageSet, from_numpy, read_image_set
from digsite.data.sets import SetReader

CLOTHES = (
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
CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SUBSET_NOTE = "class-balanced subset, decoded from JPEG: not comparable with published CIFAR-10 figures"
Arrays = tuple[np.ndarray, np.ndarray]


class FashionMnist(SetReader):
    """Fashion-MNIST: 60,000 + 10,000 pieces of clothing, 28x28 (Xiao, Rasul, Vollgraf 2017)."""

    FILES = list_sources(
        ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",),
        "sha256",
        ("train-images-idx3-ubyte.gz", "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        ("train-labels-idx1-ubyte.gz", "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        ("t10k-images-idx3-ubyte.gz", "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        ("t10k-labels-idx1-ubyte.gz", "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    )

    @staticmethod
    def read_set() -> ImageSet:
        return read_image_set("fashion_mnist", FashionMnist.FILES, CLOTHES)


class Cifar10(SetReader):
    """CIFAR-10: 50,000 + 10,000 color photographs of ten kinds of things, 32x32 (Krizhevsky 2009)."""

    # The binary archive: the Python one is a pickle, and pickles are never executed.
    FILES = list_sources(
        ("https://www.cs.toronto.edu/~kriz",),
        "sha256",
        ("cifar-10-binary.tar.gz", "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
    )

    INSTEAD = ("cifar10_subset", "cifar10_subset.npz")

    @staticmethod
    def read_set() -> ImageSet:
        """The published archive where it is at hand, else a local subset (with a note), else a download."""
        (archive,) = Cifar10.FILES
        if not find_file("cifar10", archive.file) and (subset := find_file(*Cifar10.INSTEAD)):
            with np.load(subset) as a:
                train, test = (a["x_train"], a["y_train"]), (a["x_test"], a["y_test"])
            return from_numpy("cifar10", train, test, CIFAR_CLASSES, SUBSET_NOTE)
        path = locate_file("cifar10", archive)
        try:
            train, test = _unpack_cifar(path)
        except (tarfile.TarError, EOFError, KeyError, ValueError) as error:
            message = f"'{path}' is not the binary CIFAR-10 archive ({error})."
            raise DigsiteError(message, hint="Delete it and load again.") from None
        return from_numpy("cifar10", train, test, CIFAR_CLASSES)


def _unpack_cifar(path: Path) -> tuple[Arrays, Arrays]:
    """Training and test images with their labels, of all five batches and the test batch."""
    with tarfile.open(path) as archive:
        parts = {Path(m.name).name: m for m in archive.getmembers() if m.name.endswith(".bin")}
        batches = {name: archive.extractfile(member) for name, member in sorted(parts.items())}
        records = {name: _split_records(file.read()) for name, file in batches.items() if file}
    train = [records[f"data_batch_{i}.bin"] for i in range(1, 6)]
    joined = np.concatenate([x for x, _ in train]), np.concatenate([y for _, y in train])
    return joined, records["test_batch.bin"]


def _split_records(data: bytes) -> Arrays:
    """Images (n, 32, 32, 3) and labels (n,) from rows of one label byte and 3 x 32 x 32 color planes."""
    rows = np.frombuffer(data, np.uint8).reshape(-1, 1 + 3 * 32 * 32)
    return rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), rows[:, 0]
