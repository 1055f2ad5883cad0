"""The ensemble trainer: K networks of one shape as stacked tensors, each as if trained alone."""

from digsite.train.ensemble import Ensemble
from digsite.train.feeds import Examples, Stream
from digsite.train.fit import (
    Scores,
    Trained,
    attack_success,
    evaluate,
    log_spaced,
    prepare_process,
    train_ensemble,
)
from digsite.train.member import Backdoor, Member, seeds, share_data

__all__ = [
    "Backdoor",
    "Ensemble",
    "Examples",
    "Member",
    "Scores",
    "Stream",
    "Trained",
    "attack_success",
    "evaluate",
    "log_spaced",
    "prepare_process",
    "seeds",
    "share_data",
    "train_ensemble",
]
