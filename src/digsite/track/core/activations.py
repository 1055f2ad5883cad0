"""All measures of one table of activations, raw and centered, by name."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from digsite.base import families
from digsite.base.contract import Numbers, public_method
from digsite.track.core import intrinsic, sampling, spectrum


@cache
def measures() -> Mapping[str, Any]:
    return families.scan_family("digsite.track.core.measures")


@public_method(holes=("two_nn",), activations=Numbers(2, rows=2))
def spectra(activations: Float[Tensor, "n d"], *, warn: bool = True) -> dict[str, float]:
    """Every measure by name, "centered/..." after taking off the mean row, plus the share of energy in the mean.

    `participation_ratio_unbiased` corrects for the finite number of rows; `two_nn` is the nonlinear dimension, NaN where
    fewer than ten rows differ. Constant activations have no spectrum, and are refused.
    """
    # In double precision: rows with a common offset of a thousand spreads lose a quarter of their dimension in single.
    table = spectrum.check(torch.as_tensor(activations).detach().double())
    rows = spectrum.grams(table)
    out: dict[str, float] = {}
    for prefix, centered in (("", False), ("centered/", True)):
        values = spectrum.spectrum(table, centered=centered)
        out |= {prefix + name: float(member.measure(values)) for name, member in measures().items()}
        if len(table) > 3:
            unbiased = sampling.unbiased_participation(rows, centered=centered)
            out[prefix + "participation_ratio_unbiased"] = float(unbiased)
    out["mean_share"] = float(rows.mean_share)
    out["two_nn"] = float(intrinsic.two_nn(intrinsic.squared_distances(rows)))
    dimension = out["centered/participation_ratio_variance"]
    if warn and sampling.capped(dimension, len(table)):
        warnings.warn(
            f"A dimension of {dimension:.1f} from {len(table)} rows is bounded by the rows, not by the network; "
            f"use at least {4 * dimension:.0f} rows.",
            stacklevel=2,
        )
    return out
