import re

import torch

from digsite.base.settings import cache_dir
from digsite.weights.writer import find_address, read_or_compute


def test_the_cache_trains_once_and_says_where_and_how_long(caplog):
    caplog.set_level("INFO", "digsite")
    calls = []

    def compute():
        calls.append(1)
        return {"receiver": {"layers.0.weight": torch.ones(2, 2)}, "donor": {"x": torch.zeros(1)}}

    first, second = (read_or_compute({"seed": 1}, compute, "here") for _ in range(2))
    assert calls == [1] and torch.equal(
        first["receiver"]["layers.0.weight"], second["receiver"]["layers.0.weight"]
    )
    path = find_address({"seed": 1}, "here")
    assert path.is_file() and path.parent == cache_dir() / "here"
    said = [record.getMessage() for record in caplog.records]
    assert re.fullmatch(rf"trained in \d+ CPU-seconds, kept for the next run: {path}", said[0])
    assert re.fullmatch(rf"trained before, in \d+ CPU-seconds: {path}", said[1])
    read_or_compute({"seed": 2}, compute, "here")
    assert calls == [1, 1]
