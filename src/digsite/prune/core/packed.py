"""Masks as packed bits: one 64-bit word holds 64 keep/prune decisions, rows are features."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, UInt64

from digsite.base.contract import Numbers, public_method
from digsite.base.errors import UsageError

WORD = 64


@dataclass(frozen=True)
class PackedMask:
    """`words[i]` are the bits of feature i, little endian, zero-padded to whole words; a set bit is a kept weight."""

    words: UInt64[np.ndarray, "features words"]
    n_bits: int

    @property
    def n_features(self) -> int:
        """Rows."""
        return len(self.words)

    @property
    def shape(self) -> tuple[int, int]:
        """(features, bits), as the unpacked mask has it."""
        return self.n_features, self.n_bits

    @property
    def nbytes(self) -> int:
        """An eighth of a byte for each decision, and the padding."""
        return self.words.nbytes

    def counts(self) -> Int[np.ndarray, "features"]:
        """Kept weights of every feature."""
        return np.bitwise_count(self.words).sum(axis=1, dtype=np.int64)

    def unpack(self) -> Bool[np.ndarray, "features bits"]:
        """(features, bits) as booleans."""
        bits = np.unpackbits(self.words.view(np.uint8), axis=1, count=self.n_bits, bitorder="little")
        return bits.view(bool)

    def _repr_html_(self) -> str:
        """In a notebook: the shape, the density and how it is spread over features."""
        from digsite.figures import histogram
        from digsite.figures.style import notebook_card

        kept = self.counts() / self.n_bits
        facts = {
            "features": self.n_features,
            "bits": self.n_bits,
            "kept": f"{kept.mean():.4f}",
            "kept per feature": f"{kept.min():.4f} to {kept.max():.4f}",
            "bytes": self.nbytes,
        }
        figure = histogram({"features": kept}, x="share of a feature's weights that is kept")
        return notebook_card("Packed mask", facts, figure)

    def transposed(self) -> "PackedMask":
        """Inputs and outputs change places."""
        return pack(self.unpack().T)

    def take(self, index: Int[np.ndarray, "some"]) -> "PackedMask":
        """Some of the features, in the order of `index`."""
        return PackedMask(self.words[index], self.n_bits)


@public_method(keep=Numbers(2))
def pack(keep: Bool[np.ndarray, "features bits"]) -> PackedMask:
    """Pack a boolean matrix, one feature per row.

    `keep` is True where a weight stays.
    """
    keep = np.asarray(keep)
    if keep.ndim != 2 or keep.size == 0:
        raise UsageError(f"A mask is a non-empty matrix; got shape {tuple(keep.shape)}.")
    n_bits = keep.shape[1]
    packed = np.packbits(keep.astype(bool, copy=False), axis=1, bitorder="little")
    padded = np.zeros((len(keep), -(-n_bits // WORD) * (WORD // 8)), np.uint8)
    padded[:, : packed.shape[1]] = packed
    return PackedMask(padded.view(np.uint64), n_bits)


AXES = ("rows", "columns")


def orient_features(keep: np.ndarray | PackedMask, axis: str) -> PackedMask:
    """The features of a mask along one axis: output channels are rows, input channels are columns."""
    if axis not in AXES:
        raise UsageError(f"Unknown axis '{axis}'; accepted are 'rows' and 'columns'.")
    if isinstance(keep, PackedMask):
        return keep if axis == "rows" else keep.transposed()
    keep = np.asarray(keep)
    if keep.ndim != 2:
        raise UsageError(f"A mask is a matrix; got shape {tuple(keep.shape)}.")
    return pack((keep if axis == "rows" else keep.T) != 0)
