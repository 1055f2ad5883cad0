import math

import numpy as np
import pytest

from digsite.base import atomic


def test_json_of_numpy_and_non_finite(tmp_path):
    path = tmp_path / "x.json"
    atomic.write_json(path, {"a": np.float32(0.5), "b": np.arange(3), "c": math.nan, "d": (1, math.inf)})
    assert atomic.read_json(path) == {"a": 0.5, "b": [0, 1, 2], "c": None, "d": [1, None]}


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "x.json"
    atomic.write_json(path, 1)
    with pytest.raises(RuntimeError), atomic.replace_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert atomic.read_json(path) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_missing_json_gives_the_default(tmp_path):
    assert atomic.read_json(tmp_path / "no.json", default=[]) == []
