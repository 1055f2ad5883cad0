"""The ensemble trainer: K networks of one shape as stacked tensors, each as if trained alone."""

from digsite.train.ensemble import Ensemble
from digsite.train.evaluate import Scores, attack_success, evaluate
from digsite.train.feeds import Examples, Stream
from digsite.train.fit import Trained, log_spaced, train_ensemble
from digsite.train.member import Backdoor, Member, seeds, share_data
from digsite.train.process import prepare_process

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
