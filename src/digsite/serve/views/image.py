"""Pictures: a tensor (h, w), (c, h, w) or (n, c, h, w) with values in [0, 1], or a PNG or SVG file of the run.

Options: labels (one per picture), columns, caption.
"""

import math
from typing import Any

import numpy as np

from digsite.base.errors import UsageError
from digsite.serve.asked import whole
from digsite.serve.tensors.stored import open_tensor
from digsite.serve.views import View

SHOWN = 64
PIXELS = 1_000_000  # values of one picture


def data(view: View, params: Any) -> dict[str, Any]:
    shown = {key: view.options[key] for key in ("labels", "caption") if key in view.options}
    if view.path.suffix in (".png", ".svg"):
        return {"file": view.path.relative_to(view.run.path).as_posix(), **shown}
    tensor = open_tensor(view.path, view.key)
    start = whole(params.get("start", ""))
    if math.prod(tensor.shape[-3:]) > PIXELS:
        raise UsageError(f"A picture of {math.prod(tensor.shape[-3:]):,} values is too large to be sent.")
    if 0 in tensor.shape:
        raise UsageError(f"'{view.source}' holds pictures without a pixel: shape {list(tensor.shape)}.")
    pictures = _pictures(
        tensor.read((slice(start, start + SHOWN),)) if len(tensor.shape) == 4 else tensor.read()
    )
    total = tensor.shape[0] if len(tensor.shape) == 4 else 1
    return {"pictures": [_rgb(p) for p in pictures], "start": start, "total": total, **shown}


def _pictures(values: np.ndarray) -> np.ndarray:
    if not 2 <= values.ndim <= 4:
        raise UsageError(f"A tensor with {values.ndim} axes is no picture.")
    return values.reshape((1,) * (4 - values.ndim) + values.shape)


def _rgb(picture: np.ndarray) -> dict[str, Any]:
    """Bytes of a small picture: gray or the first three channels."""
    channels = picture[:3] if len(picture) >= 3 else picture[:1]
    scaled = (
        channels if picture.dtype == np.uint8 else np.clip(np.nan_to_num(channels.astype(float)), 0, 1) * 255
    )
    return {
        "height": picture.shape[1],
        "width": picture.shape[2],
        "channels": scaled.astype(np.uint8).reshape(len(channels), -1),
    }
