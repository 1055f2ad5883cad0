"""A small zoo of real networks, made once."""

import numpy as np
import pytest

from digsite.read.core.corpus import Corpus, corpus_of
from digsite.zoo import Zoo
from digsite.zoo.config import ZooConfig
from digsite.zoo.make import make_zoo


@pytest.fixture(scope="session")
def zoo(tmp_path_factory) -> Zoo:
    folder = tmp_path_factory.mktemp("zoo")
    recipe = {
        "members": 90,
        "steps": 80,
        "checkpoints": [0, 80],
        "shard": 90,
        "train_size": 400,
        "test_size": 300,
    }
    list(make_zoo(ZooConfig.model_validate(recipe), folder, "small"))
    return Zoo.open(folder)


@pytest.fixture(scope="session")
def corpus(zoo) -> Corpus:
    return corpus_of(zoo)


@pytest.fixture(scope="session")
def sides(corpus) -> tuple[Corpus, Corpus]:
    cut = 2 * len(corpus) // 3
    return corpus.take(np.arange(cut)), corpus.take(np.arange(cut, len(corpus)))
